//! Every refusal, with its words and its place. The expected output is that of the toolchain the workspace is checked with.

#[test]
fn refusals_name_the_cure() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
