fn main() {
    println!("main");
    app::check();
    println!("checked");
}
