//! What `#[task]` generates: the item as it was, with one `const` at the start of each function's body that registers it.
//!
//! The body is the one place where generated code may stand whatever surrounds the function: a module, another function's
//! body, an `impl` block. An item there sees the function by its name, unless a parameter bears the same name (then the
//! parameter is renamed, and bound again after the `const`).

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, GenericParam, Ident, Pat, Result, ReturnType, Signature, Type};

use crate::check;
use crate::item::{Function, Impl, Item, Member};
use crate::options::{GenericArgumentTokens, TaskOptions};
use crate::signature::{at, portable, text};

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = TaskOptions::parse(arguments)?;
    match syn::parse2(item)? {
        Item::Function(function) => function_task(&function, &options, None),
        Item::Impl(block) => impl_tasks(&block, &options),
    }
}

/// Where a method belongs.
struct Owner<'a> {
    self_type: &'a Type,
    of_trait: Option<&'a syn::Path>,
}

fn impl_tasks(block: &Impl, options: &TaskOptions) -> Result<TokenStream> {
    if !block.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &block.generics,
            "the functions of a generic `impl` block cannot be tasks: write free functions and list their types, \
             `#[task(instantiate(..))]`",
        ));
    }
    if let Some(name) = &options.name {
        return Err(Error::new_spanned(
            name,
            "one name for several tasks: leave it out, they are named `Type::function`",
        ));
    }
    let owner = Owner { self_type: &block.self_type, of_trait: block.of_trait.as_ref() };
    let mut found = false;
    let members = block.members.iter().map(|member| match member {
        Member::Function(function) => {
            found = true;
            function_task(function, options, Some(&owner))
        }
        other => Ok(other.to_token_stream()),
    });
    let members = members.collect::<Result<Vec<_>>>()?;
    if !found {
        return Err(Error::new_spanned(block.impl_token, "there is no function in this `impl` block to make a task"));
    }
    Ok(block.with(&members))
}

fn function_task(function: &Function, options: &TaskOptions, owner: Option<&Owner<'_>>) -> Result<TokenStream> {
    check::signature(&function.signature, options, owner.is_some())?;
    let registrations = match &options.instantiate {
        None => registration(&function.signature, options, owner, None),
        Some(instantiate) => {
            let instances = instantiate.instances.iter().map(|arguments| instance(&function.signature, arguments));
            instances
                .collect::<Result<Vec<_>>>()?
                .into_iter()
                .map(|instance| registration(&function.signature, options, owner, Some(&instance)))
                .collect()
        }
    };
    let (signature, bindings) = rename_parameters(&function.signature);
    Ok(function.with(&signature, &quote!(#registrations #(#bindings)*)))
}

/// One list of generic arguments.
struct Instance {
    /// `f32, 4`.
    arguments: Vec<TokenStream>,
    /// `type T = f32; const N: usize = 4;`
    definitions: TokenStream,
}

fn instance(signature: &Signature, tokens: &TokenStream) -> Result<Instance> {
    let parameters: Vec<_> =
        signature.generics.params.iter().filter(|parameter| !matches!(parameter, GenericParam::Lifetime(_))).collect();
    let arguments = if parameters.len() == 1 {
        vec![tokens.clone()]
    } else {
        let several = |input: syn::parse::ParseStream<'_>| {
            let list;
            syn::parenthesized!(list in input);
            list.parse_terminated(<GenericArgumentTokens as syn::parse::Parse>::parse, syn::Token![,])
        };
        let wrong = || {
            let count = parameters.len();
            let text = format!("this function has {count} generic parameters: write each instance as `(A, B)`");
            Error::new_spanned(tokens, text)
        };
        let list = syn::parse::Parser::parse2(several, tokens.clone()).map_err(|_| wrong())?;
        if list.len() != parameters.len() {
            return Err(wrong());
        }
        list.into_iter().map(|argument| argument.0).collect()
    };
    let definitions = parameters.iter().zip(&arguments).map(|(parameter, argument)| match parameter {
        GenericParam::Const(parameter) => {
            let (name, ty) = (&parameter.ident, &parameter.ty);
            quote!(const #name: #ty = #argument;)
        }
        GenericParam::Type(parameter) => {
            let name = &parameter.ident;
            quote!(type #name = #argument;)
        }
        GenericParam::Lifetime(_) => TokenStream::new(),
    });
    let definitions = definitions.collect();
    Ok(Instance { arguments, definitions })
}

/// The `const` that registers one task.
fn registration(
    signature: &Signature,
    options: &TaskOptions,
    owner: Option<&Owner<'_>>,
    instance: Option<&Instance>,
) -> TokenStream {
    let private = {
        let krate = &options.krate;
        quote!(#krate::__private)
    };
    let source = source(signature, options, owner, instance, &private);
    let call = call(signature, options, owner, instance, &private);
    let definitions = instance.map(|instance| &instance.definitions);
    quote! {
        #[allow(dead_code, non_upper_case_globals, unused_qualifications, clippy::all, clippy::pedantic)]
        const _: () = {
            #definitions
            #private::inventory::submit! {
                #private::TaskEntry::new(#source, #call)
            }
        };
    }
}

fn source(
    signature: &Signature,
    options: &TaskOptions,
    owner: Option<&Owner<'_>>,
    instance: Option<&Instance>,
    private: &TokenStream,
) -> TokenStream {
    let instance_text = instance.map_or(String::new(), |instance| {
        let arguments: Vec<_> = instance.arguments.iter().map(text).collect();
        format!("::<{}>", arguments.join(", "))
    });
    let name = match &options.name {
        Some(name) => {
            let name = format!("{}{instance_text}", name.value());
            quote!(#name)
        }
        None => {
            let owner = owner.map_or(String::new(), |owner| format!("{}::", text(owner.self_type)));
            let name = format!("::{owner}{}{instance_text}", signature.ident);
            quote!(::core::concat!(::core::module_path!(), #name))
        }
    };
    let signature_text = text(signature);
    let version = options.version.as_ref().map_or(quote!(0), |version| {
        let digits = proc_macro2::Literal::u32_unsuffixed(version.base10_parse().unwrap_or(0));
        quote!(#digits)
    });
    quote! {
        #private::TaskSource {
            name: #name,
            file: ::core::file!(),
            line: ::core::line!(),
            column: ::core::column!(),
            signature: #signature_text,
            version: #version,
        }
    }
}

/// The expression that makes the `TaskCall`.
fn call(
    signature: &Signature,
    options: &TaskOptions,
    owner: Option<&Owner<'_>>,
    instance: Option<&Instance>,
    private: &TokenStream,
) -> TokenStream {
    let self_type = owner.map(|owner| owner.self_type.to_token_stream());
    let mut parameters: Vec<TokenStream> =
        signature.inputs.iter().map(|input| parameter_type(input, self_type.as_ref())).collect();
    let state = check::has_state(signature, options).then(|| parameters.remove(0));
    let kinds = parameters.iter().map(|ty| {
        let (span, private) = (ty.span(), at(ty.span(), private));
        quote_spanned!(span=> #private::param::<#ty, _>())
    });
    let kinds = quote!(#(, #kinds)*);
    let path = path(signature, owner, instance);
    let span = check::result_span(signature);
    let whole = private;
    let private = at(span, private);
    let count = Ident::new(&format!("n{}", parameters.len()), span);
    let returns_result = matches!(&signature.output, ReturnType::Type(_, ty) if is_result(ty));
    if options.state.is_some() {
        let made = format_ident!("{}", if returns_result { "Fallibly" } else { "Plainly" });
        return quote_spanned!(span=>
            #private::constructor::#count(&#path, ::core::marker::PhantomData::<#private::#made> #kinds));
    }
    let call = match state {
        None => quote_spanned!(span=> #private::plain::#count(&#path #kinds)),
        Some(reference) => {
            let private_there = at(reference.span(), whole);
            let state = quote_spanned!(reference.span()=> #private_there::state::<#reference>());
            quote_spanned!(span=> #private::with_state::#count(&#path, #state #kinds))
        }
    };
    let show = show(&parameters, &kinds, whole);
    let call = quote!(#call.with_show(#show));
    match &signature.output {
        ReturnType::Type(_, ty) if returns_result => {
            let failure = failure(portable(ty.to_token_stream(), self_type.as_ref()), whole);
            quote!(#call.with_failure(#failure))
        }
        _ => call,
    }
}

/// The function that tells a failure of a task that returns `ty`, a `Result`.
fn failure(ty: TokenStream, private: &TokenStream) -> TokenStream {
    quote! {{
        unsafe fn failure(output: *const u8) -> ::core::option::Option<::std::string::String> {
            #[allow(unused_imports)]
            use #private::{AnyError as _, DebugError as _, DisplayError as _, NoError as _};
            // SAFETY: passed on to the caller.
            unsafe { (&&&&#private::Probe::<#ty>::ask()).failure(output) }
        }
        failure
    }}
}

/// The function that shows an input slot of a task with these parameters, of these kinds.
fn show(parameters: &[TokenStream], kinds: &TokenStream, private: &TokenStream) -> TokenStream {
    let count = Ident::new(&format!("n{}", parameters.len()), Span::call_site());
    let names: Vec<Ident> =
        (0..parameters.len()).map(|index| Ident::new(&format!("__shown_{index}"), Span::mixed_site())).collect();
    quote! {{
        fn show(#(#names: #parameters),*) -> ::core::option::Option<::std::string::String> {
            #[allow(unused_imports)]
            use #private::{AnyArgument as _, DebugArgument as _};
            #[allow(unused_mut)]
            let mut out = <#private::Arguments as ::core::default::Default>::default();
            let all = true #(&& (&&#private::Shown(&#names)).show(&mut out))*;
            if all { ::core::option::Option::Some(out.finish()) } else { ::core::option::Option::None }
        }
        #private::show::#count(&show #kinds)
    }}
}

/// `Result<..>`, by its name.
fn is_result(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Result"))
}

fn parameter_type(input: &FnArg, self_type: Option<&TokenStream>) -> TokenStream {
    let ty = match input {
        FnArg::Typed(typed) => typed.ty.to_token_stream(),
        FnArg::Receiver(receiver) => {
            let own = Ident::new("Self", receiver.self_token.span);
            match &receiver.kind {
                syn::ReceiverKind::Reference(and, _, Some(mutability)) => quote!(#and #mutability #own),
                syn::ReceiverKind::Reference(and, ..) => quote!(#and #own),
                syn::ReceiverKind::Typed(_, ty) => ty.to_token_stream(),
                _ => quote!(#own),
            }
        }
    };
    portable(ty, self_type)
}

/// The function, as an expression.
fn path(signature: &Signature, owner: Option<&Owner<'_>>, instance: Option<&Instance>) -> TokenStream {
    let name = &signature.ident;
    let generics = instance.map(|instance| {
        let arguments = instance.arguments.iter().map(|argument| quote!(#argument));
        quote!(::<#(#arguments),*>)
    });
    match owner {
        None => quote!(#name #generics),
        Some(Owner { self_type, of_trait: None }) => quote!(<#self_type>::#name #generics),
        Some(Owner { self_type, of_trait: Some(of_trait) }) => quote!(<#self_type as #of_trait>::#name #generics),
    }
}

/// Gives other names to the parameters that bear the task's name, which would hide the task from the generated item, and
/// binds them again.
fn rename_parameters(signature: &Signature) -> (Signature, Vec<TokenStream>) {
    let mut renamed = signature.clone();
    let mut bindings = Vec::new();
    for (index, input) in renamed.inputs.iter_mut().enumerate() {
        let FnArg::Typed(typed) = input else { continue };
        if check::binds(&typed.pat, &signature.ident) {
            let name = Ident::new(&format!("__argument_{index}"), Span::mixed_site());
            let pattern = std::mem::replace(&mut *typed.pat, Pat::Verbatim(quote!(#name)));
            bindings.push(quote!(let #pattern = #name;));
        }
    }
    (renamed, bindings)
}
