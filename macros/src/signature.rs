//! A signature as text, and its types made fit for the place where generated code names them.

use proc_macro2::{Delimiter, Group, Ident, Punct, Spacing, TokenStream, TokenTree};
use quote::{ToTokens, quote};

/// Tokens as a person would write them.
pub(crate) fn text(tokens: &impl ToTokens) -> String {
    let mut text = String::new();
    write(tokens.to_token_stream(), &mut text);
    text
}

fn write(tokens: TokenStream, text: &mut String) {
    // What stood before: a word wants a space before another word, punctuation mostly none.
    let mut tokens = tokens.into_iter().peekable();
    let mut joint = false;
    // A lifetime is a tick and a word, and wants a space after it.
    let mut lifetime = false;
    while let Some(token) = tokens.next() {
        if lifetime && !joint && !matches!(token, TokenTree::Punct(_)) {
            text.push(' ');
        }
        lifetime = joint && text.ends_with('\'');
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => (" { ", " }"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write(group.stream(), text);
                text.push_str(close);
                joint = false;
            }
            TokenTree::Ident(_) | TokenTree::Literal(_) => {
                if !joint
                    && !text.ends_with(' ')
                    && text.ends_with(|last: char| last.is_alphanumeric() || matches!(last, '_' | ')' | ']'))
                {
                    text.push(' ');
                }
                text.push_str(&token.to_string());
                joint = false;
            }
            TokenTree::Punct(punct) => {
                let next_is_joint = punct.spacing() == Spacing::Joint;
                match punct.as_char() {
                    ',' | ';' if tokens.peek().is_some() => text.extend([punct.as_char(), ' ']),
                    ',' => {}
                    ':' if !next_is_joint && !text.ends_with(':') => text.push_str(": "),
                    '-' if next_is_joint => text.push_str(" -"),
                    '>' if text.ends_with(" -") => text.push_str("> "),
                    '+' | '=' if !joint && !next_is_joint => text.extend([' ', punct.as_char(), ' ']),
                    other => text.push(other),
                }
                joint = next_is_joint || punct.as_char() == '\'';
            }
        }
    }
}

/// The tokens with every named lifetime but `'static` as `'_`, and `Self` as `self_type`.
///
/// Generated code stands in an item inside the function, where the function's lifetimes and `Self` have no names.
pub(crate) fn portable(tokens: TokenStream, self_type: Option<&TokenStream>) -> TokenStream {
    let mut result = TokenStream::new();
    let mut lifetime = false;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if lifetime && ident != "static" => {
                result.extend([TokenTree::Ident(Ident::new("_", ident.span()))]);
            }
            TokenTree::Ident(ident) if ident == "Self" && self_type.is_some() => {
                result.extend(quote!(#self_type));
            }
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), portable(group.stream(), self_type));
                inner.set_span(group.span());
                result.extend([TokenTree::Group(inner)]);
                lifetime = false;
                continue;
            }
            other => {
                lifetime = is_tick(&other);
                result.extend([other]);
                continue;
            }
        }
        lifetime = false;
    }
    result
}

fn is_tick(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if is(punct, '\''))
}

fn is(punct: &Punct, character: char) -> bool {
    punct.as_char() == character
}

/// The tokens as if they stood at `span`: what the compiler says of them it says there.
pub(crate) fn at(span: proc_macro2::Span, tokens: &impl ToTokens) -> TokenStream {
    let moved = tokens.to_token_stream().into_iter().map(|mut token| {
        token.set_span(token.span().located_at(span));
        token
    });
    moved.collect()
}

/// Where this identifier occurs first in the tokens.
pub(crate) fn mentioned(tokens: TokenStream, name: &str) -> Option<Ident> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(ident) => (ident == name).then_some(ident),
        TokenTree::Group(group) => mentioned(group.stream(), name),
        _ => None,
    })
}

/// The first lifetime in the tokens that `wanted` accepts, by the token of its name.
pub(crate) fn lifetime(tokens: TokenStream, wanted: fn(&str) -> bool) -> Option<Ident> {
    let mut tick = false;
    for token in tokens {
        match &token {
            TokenTree::Ident(ident) if tick && wanted(&ident.to_string()) => return Some(ident.clone()),
            TokenTree::Group(group) => {
                if let Some(found) = lifetime(group.stream(), wanted) {
                    return Some(found);
                }
            }
            _ => {}
        }
        tick = is_tick(&token);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    #[test]
    fn signatures_read_as_written() {
        for signature in [
            "fn square(x: u64) -> u64",
            "pub const fn f(a: &str, b: &mut Vec<u8>) -> Result<(), Failure>",
            "fn g<'a, T: Ord + std::fmt::Debug>(x: &'a [T; 4]) -> Option<T>",
        ] {
            let tokens = TokenStream::from_str(signature).unwrap_or_default();
            assert_eq!(text(&tokens), signature);
        }
    }

    #[test]
    fn named_lifetimes_and_self_are_replaced() {
        let tokens = quote!(&'a Wrap<'static, Self>);
        assert_eq!(portable(tokens, Some(&quote!(Page))).to_string(), quote!(&'_ Wrap<'static, Page>).to_string());
    }
}
