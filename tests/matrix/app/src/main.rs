fn main() {
    // A child that runs main again would say so.
    println!("main");
    if std::env::args().nth(1).as_deref() == Some("refused") {
        println!("{}", offspring::spawn(tasklib::double, 1).unwrap_err());
        return;
    }
    app::check();
    println!("checked");
}
