use offspring::task;

#[task]
fn in_a_test(x: u64) -> u64 {
    x + 1
}

#[test]
fn children_are_entered_from_an_integration_test() {
    assert_eq!(offspring::spawn(in_a_test, 1).unwrap().join().unwrap(), 2);
    app::check();
}
