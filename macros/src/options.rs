//! The attributes' arguments.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, LitInt, LitStr, Path, Result, Token, parenthesized};

/// The arguments of `#[task(..)]`.
pub(crate) struct TaskOptions {
    pub(crate) krate: Path,
    pub(crate) name: Option<LitStr>,
    pub(crate) version: Option<LitInt>,
    pub(crate) state: Option<Ident>,
    pub(crate) instantiate: Option<Instantiate>,
}

/// `instantiate(A, (B, C))`.
pub(crate) struct Instantiate {
    pub(crate) span: Span,
    /// One per instance, each the tokens of the generic arguments.
    pub(crate) instances: Vec<TokenStream>,
}

/// The arguments of `#[message(..)]`.
pub(crate) struct MessageOptions {
    pub(crate) krate: Path,
    pub(crate) derives: Option<TokenStream>,
    /// The word `plain`, if it is there.
    pub(crate) plain: Option<Ident>,
    /// The word `key`, if it is there.
    pub(crate) key: Option<Ident>,
}

fn default_crate() -> Path {
    syn::parse_quote!(::offspring)
}

/// The name of an option: `crate` is a keyword.
fn key(input: ParseStream<'_>) -> Result<Ident> {
    if input.peek(Token![crate]) {
        let token: Token![crate] = input.parse()?;
        return Ok(Ident::new("crate", token.span));
    }
    input.parse()
}

/// Goes through `key, key = .., key(..)`.
fn each(arguments: TokenStream, mut option: impl FnMut(&Ident, ParseStream<'_>) -> Result<()>) -> Result<()> {
    let parser = |input: ParseStream<'_>| {
        let mut seen: Vec<Ident> = Vec::new();
        while !input.is_empty() {
            let key = key(input)?;
            if seen.contains(&key) {
                return Err(Error::new(key.span(), format!("`{key}` is given twice: leave one of them out")));
            }
            option(&key, input)?;
            seen.push(key);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    };
    parser.parse2(arguments)
}

fn value<T: Parse>(key: &Ident, input: ParseStream<'_>, example: &str) -> Result<T> {
    if !input.peek(Token![=]) {
        return Err(Error::new(key.span(), format!("`{key}` needs a value: write `{key} = {example}`")));
    }
    input.parse::<Token![=]>()?;
    input.parse().map_err(|error| Error::new(error.span(), format!("write `{key} = {example}`")))
}

impl TaskOptions {
    pub(crate) fn parse(arguments: TokenStream) -> Result<Self> {
        let mut options =
            TaskOptions { krate: default_crate(), name: None, version: None, state: None, instantiate: None };
        each(arguments, |key, input| {
            match key.to_string().as_str() {
                "crate" => options.krate = value(key, input, "path::to::offspring")?,
                "name" => options.name = Some(value(key, input, "\"...\"")?),
                "version" => options.version = Some(value(key, input, "1")?),
                "state" => options.state = Some(key.clone()),
                "instantiate" => options.instantiate = Some(instantiate(key, input)?),
                _ => {
                    let known = "`name`, `version`, `state`, `instantiate`, `crate`";
                    return Err(Error::new(key.span(), format!("no option `{key}`: there are {known}")));
                }
            }
            Ok(())
        })?;
        if let Some(version) = &options.version {
            version
                .base10_parse::<u32>()
                .map_err(|_| Error::new(version.span(), "a version is a whole number below 4294967296"))?;
        }
        Ok(options)
    }
}

fn instantiate(key: &Ident, input: ParseStream<'_>) -> Result<Instantiate> {
    let example = "list the types the task is wanted for: `instantiate(f32, f64)`";
    if !input.peek(syn::token::Paren) {
        return Err(Error::new(key.span(), example));
    }
    let list;
    parenthesized!(list in input);
    let instances = Punctuated::<GenericArgumentTokens, Token![,]>::parse_terminated(&list)?;
    if instances.is_empty() {
        return Err(Error::new(key.span(), example));
    }
    Ok(Instantiate { span: key.span(), instances: instances.into_iter().map(|instance| instance.0).collect() })
}

/// A generic argument: a type, or a value of a const parameter.
pub(crate) struct GenericArgumentTokens(pub(crate) TokenStream);

impl Parse for GenericArgumentTokens {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.peek(syn::Lit) || input.peek(Token![-]) || input.peek(syn::token::Brace) {
            return input.parse::<syn::Expr>().map(|value| Self(value.into_token_stream()));
        }
        // `(f32, 4)`: a list of arguments of several parameters is no type when it holds a value.
        if input.peek(syn::token::Paren) && input.fork().parse::<syn::Type>().is_err() {
            return input.parse::<proc_macro2::TokenTree>().map(|list| Self(list.into()));
        }
        input.parse::<syn::Type>().map(|ty| Self(ty.into_token_stream()))
    }
}

/// The arguments of `#[shared(..)]`.
pub(crate) struct SharedOptions {
    pub(crate) krate: Path,
}

impl SharedOptions {
    pub(crate) fn parse(arguments: TokenStream) -> Result<Self> {
        let mut options = SharedOptions { krate: default_crate() };
        each(arguments, |key, input| {
            if key != "crate" {
                return Err(Error::new(key.span(), format!("no option `{key}`: there is `crate`")));
            }
            options.krate = value(key, input, "path::to::offspring")?;
            Ok(())
        })?;
        Ok(options)
    }
}

impl MessageOptions {
    pub(crate) fn parse(arguments: TokenStream) -> Result<Self> {
        let mut options = MessageOptions { krate: default_crate(), derives: None, plain: None, key: None };
        each(arguments, |key, input| {
            match key.to_string().as_str() {
                "crate" => options.krate = value(key, input, "path::to::offspring")?,
                "derive" => {
                    let list;
                    parenthesized!(list in input);
                    options.derives = Some(list.parse()?);
                }
                "plain" => options.plain = Some(key.clone()),
                "key" => options.key = Some(key.clone()),
                _ => {
                    let known = "`key`, `plain`, `derive(..)` for the archived type, and `crate`";
                    return Err(Error::new(key.span(), format!("no option `{key}`: there are {known}")));
                }
            }
            Ok(())
        })?;
        if let (Some(plain), Some(_)) = (&options.plain, &options.derives) {
            return Err(Error::new(plain.span(), "a plain type is its own archived form: leave `derive(..)` out"));
        }
        if let (Some(_), Some(key)) = (&options.plain, &options.key) {
            return Err(Error::new(
                key.span(),
                "a plain type may have gaps of any bytes, and so is no key: leave `plain` out",
            ));
        }
        Ok(options)
    }
}
