//! Writing JSON (RFC 8259): objects and arrays, one value after the other, straight into a string.

use std::fmt::Write;

/// A JSON text being written. Whoever uses it opens and closes in the right order.
#[derive(Debug, Default)]
pub(crate) struct Json {
    text: String,
    /// A comma goes before the next value.
    comma: bool,
}

impl Json {
    /// The text.
    pub(crate) fn finish(self) -> String {
        self.text
    }

    fn value(&mut self) -> &mut String {
        if self.comma {
            self.text.push(',');
        }
        self.comma = true;
        &mut self.text
    }

    pub(crate) fn key(&mut self, key: &str) -> &mut Self {
        string(self.value(), key);
        self.text.push(':');
        self.comma = false;
        self
    }

    pub(crate) fn open(&mut self, bracket: char) -> &mut Self {
        self.value().push(bracket);
        self.comma = false;
        self
    }

    pub(crate) fn close(&mut self, bracket: char) -> &mut Self {
        self.text.push(bracket);
        self.comma = true;
        self
    }

    pub(crate) fn string(&mut self, value: &str) -> &mut Self {
        string(self.value(), value);
        self
    }

    /// Whole numbers; readers with 53 bits only lose the last digits of those above 9e15.
    pub(crate) fn number(&mut self, value: impl Into<u128>) -> &mut Self {
        let value: u128 = value.into();
        // Writing to a string cannot fail.
        let _ = write!(self.value(), "{value}");
        self
    }

    /// Three places behind the point; what is no number is `null`.
    pub(crate) fn decimal(&mut self, value: f64) -> &mut Self {
        match value.is_finite() {
            true => drop(write!(self.value(), "{value:.3}")),
            false => self.value().push_str("null"),
        }
        self
    }

    pub(crate) fn null(&mut self) -> &mut Self {
        self.value().push_str("null");
        self
    }

    /// A number, or `null`.
    pub(crate) fn maybe(&mut self, value: Option<u64>) -> &mut Self {
        match value {
            Some(value) => self.number(value),
            None => self.null(),
        }
    }
}

fn string(text: &mut String, value: &str) {
    text.push('"');
    for char in value.chars() {
        match char {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            // `<` so that the text may stand in a page's script.
            '\0'..=' ' | '\u{7f}' | '<' if char != ' ' => {
                let _ = write!(text, "\\u{:04x}", u32::from(char));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_json() {
        let mut json = Json::default();
        json.open('{').key("a\"b\\\n\u{1}<é").open('[').number(1u64).decimal(0.5).decimal(f64::NAN).null().close(']');
        json.key("n").maybe(Some(7)).key("none").maybe(None).key("o").open('{').close('}').close('}');
        let wanted = r#"{"a\"b\\\n\u0001\u003cé":[1,0.500,null,null],"n":7,"none":null,"o":{}}"#;
        assert_eq!(json.finish(), wanted);
    }
}
