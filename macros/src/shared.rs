//! What `#[shared]` generates: the static holds the expression as a function, to be called by whoever comes first.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, Expr, Ident, Item, ItemConst, ItemStatic, Path, Result, StaticMutability, Type, Visibility,
};

use crate::options::SharedOptions;

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let krate = SharedOptions::parse(arguments)?.krate;
    match syn::parse2::<Item>(item)? {
        Item::Static(item) => {
            let refused = match &item.mutability {
                StaticMutability::Mut(token) => Some(Error::new(
                    token.span(),
                    "a shared static is used by many processes at once: leave `mut` out, and put what changes into a `Mutex` or a `Value`",
                )),
                _ => None,
            };
            let ItemStatic { attrs, vis, ident, ty, expr, .. } = &item;
            Ok(generate(&krate, refused, (attrs, vis, ident, ty, expr)))
        }
        Item::Const(item) => {
            let refused = Error::new(
                item.const_token.span(),
                "a const is made anew wherever it is used: write `static` for one object in all processes",
            );
            let ItemConst { attrs, vis, ident, ty, expr, .. } = &item;
            Ok(generate(&krate, Some(refused), (attrs, vis, ident, ty, expr)))
        }
        other => Err(Error::new(first_span(&other), "`#[shared]` is for statics: `static NAME: Type = expression?;`")),
    }
}

/// What both kinds of items have.
type Parts<'a> = (&'a [Attribute], &'a Visibility, &'a Ident, &'a Type, &'a Expr);

/// The static, also beside a refusal: an expression with `?` in a static as it was written would be one more error.
fn generate(krate: &Path, refused: Option<Error>, (attrs, vis, ident, ty, expr): Parts<'_>) -> TokenStream {
    let refused = refused.map(Error::into_compile_error);
    let place = quote!(::core::concat!(::core::file!(), ":", ::core::line!(), ":", ::core::column!()));
    let name = quote!(::core::concat!(::core::module_path!(), "::", ::core::stringify!(#ident)));
    // All of it at the type, so that a type that is no message is shown there.
    let new = quote_spanned!(ty.span()=> __OffspringSharedStatic::<#ty>::__new);
    let made = quote_spanned!(expr.span()=> ::core::result::Result::Ok(#expr));
    quote! {
        #refused
        #(#attrs)*
        #vis static #ident: #krate::SharedStatic<#ty> = {
            use #krate::SharedStatic as __OffspringSharedStatic;
            #[allow(clippy::needless_question_mark, clippy::unnecessary_wraps)]
            fn make() -> ::core::result::Result<#ty, #krate::Failure> {
                #made
            }
            #new(#name, #place, make)
        };
    }
}

fn first_span(item: &Item) -> proc_macro2::Span {
    quote!(#item).into_iter().next().map_or_else(proc_macro2::Span::call_site, |token| token.span())
}
