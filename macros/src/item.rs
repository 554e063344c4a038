//! The items that `#[task]` stands on. Bodies are kept as tokens, so that an unfinished one still expands.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, Generics, Path, Result, Signature, Token, Type, Visibility};

/// A function with its body as tokens.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) defaultness: Option<Token![default]>,
    pub(crate) signature: Signature,
    pub(crate) body: Group,
}

/// An `impl` block whose functions are tasks.
pub(crate) struct Impl {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) impl_token: Token![impl],
    pub(crate) generics: Generics,
    pub(crate) of_trait: Option<Path>,
    pub(crate) self_type: Type,
    pub(crate) members: Vec<Member>,
}

/// Something in an `impl` block.
pub(crate) enum Member {
    Function(Box<Function>),
    Other(TokenStream),
}

pub(crate) enum Item {
    Function(Box<Function>),
    Impl(Box<Impl>),
}

fn braces(input: ParseStream<'_>, otherwise: &str) -> Result<Group> {
    let start = input.fork();
    match input.parse::<TokenTree>() {
        Ok(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => Ok(group),
        _ => Err(start.error(otherwise)),
    }
}

impl Parse for Item {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let ahead = input.fork();
        ahead.call(Attribute::parse_outer)?;
        if ahead.peek(Token![impl]) || (ahead.peek(Token![unsafe]) && ahead.peek2(Token![impl])) {
            return input.parse().map(|block| Item::Impl(Box::new(block)));
        }
        ahead.parse::<Visibility>()?;
        let is_function = ahead.peek(Token![fn])
            || ahead.peek(Token![async])
            || ahead.peek(Token![unsafe])
            || ahead.peek(Token![extern])
            || (ahead.peek(Token![const])
                && [ahead.peek2(Token![fn]), ahead.peek2(Token![async]), ahead.peek2(Token![unsafe])].contains(&true))
            || (ahead.peek(Token![const]) && ahead.peek2(Token![extern]));
        if !is_function {
            return Err(ahead.error("`#[task]` goes above a function, or above an `impl` block of functions"));
        }
        input.parse().map(|function| Item::Function(Box::new(function)))
    }
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        Ok(Function {
            attributes: input.call(Attribute::parse_outer)?,
            visibility: input.parse()?,
            defaultness: input.parse()?,
            signature: input.parse()?,
            body: braces(input, "a task needs a body: `#[task]` goes above the function that does the work")?,
        })
    }
}

impl Parse for Impl {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut attributes = input.call(Attribute::parse_outer)?;
        if input.peek(Token![unsafe]) {
            return Err(input.error("tasks cannot be in an `unsafe impl`: move them to an `impl` block of their own"));
        }
        let impl_token = input.parse()?;
        let mut generics: Generics = if input.peek(Token![<]) { input.parse()? } else { Generics::default() };
        let first: Type = input.parse()?;
        let (of_trait, self_type) = match input.parse::<Option<Token![for]>>()? {
            None => (None, first),
            Some(_) => match first {
                Type::Path(path) if path.qself.is_none() => (Some(path.path), input.parse()?),
                other => return Err(Error::new_spanned(other, "expected a trait")),
            },
        };
        generics.where_clause = input.parse()?;
        let content;
        syn::braced!(content in input);
        attributes.extend(content.call(Attribute::parse_inner)?);
        let mut members = Vec::new();
        while !content.is_empty() {
            members.push(content.parse()?);
        }
        Ok(Impl { attributes, impl_token, generics, of_trait, self_type, members })
    }
}

impl Parse for Member {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let function = input.fork();
        if let Ok(parsed) = function.parse::<Function>() {
            syn::parse::discouraged::Speculative::advance_to(input, &function);
            return Ok(Member::Function(Box::new(parsed)));
        }
        // Constants, types, macros: up to the `;` or the braces that end them.
        let mut other = TokenStream::new();
        loop {
            let token: TokenTree = input.parse()?;
            let semicolon = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ';');
            let brace = matches!(&token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
            other.extend([token]);
            if semicolon || (brace && !input.peek(Token![;])) || input.is_empty() {
                return Ok(Member::Other(other));
            }
        }
    }
}

impl Function {
    /// The function with `first` at the start of its body. What stood in the body is a block of its own, so that its
    /// items and imports are not seen by `first`.
    pub(crate) fn with(&self, signature: &Signature, first: &TokenStream) -> TokenStream {
        let Function { attributes, visibility, defaultness, body, .. } = self;
        let (inner, body) = inner_attributes(body);
        let mut block = Group::new(Delimiter::Brace, quote!(#first #body));
        block.set_span(self.body.span());
        // The braces of a body of one expression look unneeded once there is something before them.
        quote!(#(#attributes)* #(#inner)* #[allow(unused_braces)] #visibility #defaultness #signature #block)
    }
}

/// The attributes `#![..]` at the start of a body, as outer ones, and the body without them.
fn inner_attributes(body: &Group) -> (Vec<TokenStream>, Group) {
    let mut tokens = body.stream().into_iter().peekable();
    let mut attributes = Vec::new();
    let mut rest = TokenStream::new();
    while let Some(token) = tokens.next() {
        let hash = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
        let bang = matches!(tokens.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == '!');
        if !(hash && bang) {
            rest.extend([token]);
            rest.extend(tokens);
            break;
        }
        tokens.next();
        match tokens.next() {
            Some(group) => attributes.push(quote!(#token #group)),
            None => break,
        }
    }
    let mut block = Group::new(Delimiter::Brace, rest);
    block.set_span(body.span());
    (attributes, block)
}

impl Impl {
    /// The block with these members.
    pub(crate) fn with(&self, members: &[TokenStream]) -> TokenStream {
        let Impl { attributes, impl_token, generics, of_trait, self_type, .. } = self;
        let of_trait = of_trait.as_ref().map(|path| quote!(#path for));
        let where_clause = &generics.where_clause;
        quote!(#(#attributes)* #impl_token #generics #of_trait #self_type #where_clause { #(#members)* })
    }
}

impl ToTokens for Member {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Member::Other(other) => other.to_tokens(tokens),
            Member::Function(function) => {
                let Function { attributes, visibility, defaultness, signature, body } = &**function;
                quote!(#(#attributes)* #visibility #defaultness #signature #body).to_tokens(tokens);
            }
        }
    }
}
