//! What cannot be a task, said before the compiler says it in its own words.

use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{Error, FnArg, GenericParam, Pat, Result, ReturnType, Safety, Signature, Type};

use crate::options::TaskOptions;
use crate::signature::{lifetime, mentioned};

/// The most parameters a task may have beside its state.
pub(crate) const MOST: usize = 8;

/// Refuses signatures that cannot be a task's.
pub(crate) fn signature(signature: &Signature, options: &TaskOptions, in_impl: bool) -> Result<()> {
    let refuse = |tokens: &dyn ToTokens, text: &str| Err(Error::new_spanned(tokens.to_token_stream(), text));
    if let Some(token) = &signature.asyncness {
        return refuse(
            token,
            "a task cannot be `async`: make it a plain `fn` and run the future inside it, to its end",
        );
    }
    if let Safety::Unsafe(token) = &signature.safety {
        return refuse(token, "a task cannot be `unsafe`: make it a safe `fn` and put the `unsafe` block inside it");
    }
    if let Some(abi) = &signature.abi {
        return refuse(abi, "a task has Rust's own calling convention: call this function from a plain `fn`");
    }
    if let Some(variadic) = &signature.variadic {
        return refuse(variadic, "a task cannot have a variable number of parameters: take a `Vec`");
    }
    generics(signature, options)?;
    for (index, input) in signature.inputs.iter().enumerate() {
        parameter(index, input, options, in_impl)?;
    }
    // Of an associated function that does not name `Self`, nothing here tells where it stands.
    if !in_impl && let Some(own) = mentioned(signature.to_token_stream(), "Self") {
        return refuse(
            &own,
            "an associated function becomes a task with its `impl` block: put `#[task]` above the `impl`",
        );
    }
    if signature.inputs.len() - usize::from(has_state(signature, options)) > MOST {
        let extra = signature.inputs.iter().nth(MOST).map(ToTokens::to_token_stream);
        return refuse(&extra, "a task has at most 8 parameters: put them into a `#[message]` struct");
    }
    if let ReturnType::Type(_, ty) = &signature.output {
        result(ty, options)?;
    }
    Ok(())
}

/// Is the first parameter the worker's state?
pub(crate) fn has_state(signature: &Signature, options: &TaskOptions) -> bool {
    options.state.is_none()
        && match signature.inputs.first() {
            Some(FnArg::Typed(typed)) => is_mut_reference(&typed.ty),
            Some(FnArg::Receiver(receiver)) => is_mut_receiver(receiver),
            None => false,
        }
}

fn is_mut_reference(ty: &Type) -> bool {
    matches!(ty, Type::Reference(reference) if reference.mutability.is_some())
}

/// `&mut self`.
pub(crate) fn is_mut_receiver(receiver: &syn::Receiver) -> bool {
    matches!(receiver.kind, syn::ReceiverKind::Reference(_, _, Some(_)))
}

fn generics(signature: &Signature, options: &TaskOptions) -> Result<()> {
    let mut types = 0;
    for parameter in &signature.generics.params {
        match parameter {
            GenericParam::Lifetime(lifetime) if lifetime.bounds.is_empty() => {}
            GenericParam::Lifetime(lifetime) => {
                return Err(Error::new_spanned(
                    &lifetime.bounds,
                    "a task's borrows end with the call, so their lifetimes have no bounds: leave the bound out",
                ));
            }
            GenericParam::Type(_) | GenericParam::Const(_) => types += 1,
        }
    }
    if let Some(clause) = &signature.generics.where_clause
        && let Some(found) = clause.predicates.iter().find(|bound| matches!(bound, syn::WherePredicate::Lifetime(_)))
    {
        return Err(Error::new_spanned(
            found,
            "a task's borrows end with the call, so their lifetimes have no bounds: leave the bound out",
        ));
    }
    match &options.instantiate {
        None if types > 0 => Err(Error::new_spanned(
            &signature.generics,
            "a generic function is a task only for the types that are listed: `#[task(instantiate(f32, f64))]`",
        )),
        Some(instantiate) if types == 0 => Err(Error::new(
            instantiate.span,
            "`instantiate` lists types for a generic function, and this one is not generic: leave it out",
        )),
        _ => Ok(()),
    }
}

fn parameter(index: usize, input: &FnArg, options: &TaskOptions, in_impl: bool) -> Result<()> {
    let (attributes, ty) = match input {
        FnArg::Receiver(receiver) => {
            if !in_impl {
                return Err(Error::new_spanned(
                    receiver,
                    "a method becomes a task with its `impl` block: put `#[task]` above the `impl`",
                ));
            }
            if is_mut_receiver(receiver) && options.state.is_some() {
                return Err(Error::new_spanned(receiver, STATE_OF_STATE));
            }
            (&receiver.attrs, None)
        }
        FnArg::Typed(typed) => (&typed.attrs, Some(&*typed.ty)),
    };
    if let Some(attribute) = attributes.iter().find(|attribute| attribute.path().is_ident("cfg")) {
        return Err(Error::new_spanned(
            attribute,
            "a task's parameters are the same in every build: put the `#[cfg]` above two functions instead",
        ));
    }
    let Some(ty) = ty else { return Ok(()) };
    if let Type::Reference(reference) = ty {
        if let Some(mutability) = &reference.mutability {
            if options.state.is_some() {
                return Err(Error::new_spanned(reference, STATE_OF_STATE));
            }
            if index > 0 {
                return Err(Error::new_spanned(
                    mutability,
                    "a task cannot borrow mutably from its caller: take the value and return it; only the first \
                     parameter may be `&mut`, the worker's state",
                ));
            }
        }
        if let Some(lifetime) = &reference.lifetime
            && lifetime.ident == "static"
        {
            return Err(Error::new_spanned(lifetime, STATIC));
        }
        if let Type::TraitObject(object) = &*reference.elem {
            return Err(Error::new_spanned(object, TRAIT_OBJECT));
        }
        if index == 0 && reference.mutability.is_some() {
            return Ok(());
        }
    }
    if let Some(found) = lifetime(ty.to_token_stream(), |name| name == "static") {
        // `Cow<'static, str>` owns its data and is a message.
        if !matches!(ty, Type::Path(_)) {
            return Err(Error::new(found.span(), STATIC));
        }
    }
    nested(ty)
}

const STATIC: &str = "a task cannot keep what it borrows: the borrow ends with the call, so write it without `'static`";
const TRAIT_OBJECT: &str = "a trait object is no message: take an enum (`#[message]`) of the types it may be";
const STATE_OF_STATE: &str = "a state constructor makes the state, so it cannot borrow one: take a value";

/// Refuses kinds of types that can never be messages.
fn nested(ty: &Type) -> Result<()> {
    match ty {
        Type::ImplTrait(found) => Err(Error::new_spanned(
            found,
            "a task's parameter needs a type with a name: make the function generic and list the types, \
             `#[task(instantiate(..))]`, or name the type",
        )),
        Type::TraitObject(found) => Err(Error::new_spanned(found, TRAIT_OBJECT)),
        Type::Ptr(found) => {
            Err(Error::new_spanned(found, "a pointer means nothing in another process: take the value it points to"))
        }
        Type::FnPtr(found) => Err(Error::new_spanned(
            found,
            "a function pointer means nothing in another process: take an enum (`#[message]`) that says which function",
        )),
        Type::Infer(found) => Err(Error::new_spanned(found, "a task's types are written out: name the type")),
        Type::Reference(reference) => nested(&reference.elem),
        Type::Slice(slice) => nested(&slice.elem),
        Type::Array(array) => nested(&array.elem),
        Type::Tuple(tuple) => tuple.elems.iter().try_for_each(nested),
        Type::Paren(paren) => nested(&paren.elem),
        Type::Group(group) => nested(&group.elem),
        _ => Ok(()),
    }
}

fn result(ty: &Type, options: &TaskOptions) -> Result<()> {
    match ty {
        Type::Reference(_) => {
            return Err(Error::new_spanned(
                ty,
                "a task cannot return a borrow, as its result outlives the call: return an owned value, such as `String` \
                 or `Vec`",
            ));
        }
        Type::Never(_) => {
            return Err(Error::new_spanned(ty, "a task that never returns has no result: return `()`"));
        }
        Type::ImplTrait(_) => {
            return Err(Error::new_spanned(
                ty,
                "a task's result needs a type with a name, as other processes read it: name the type, such as `Vec<u64>`",
            ));
        }
        _ => {}
    }
    if let Some(found) = lifetime(ty.to_token_stream(), |name| name != "static") {
        return Err(Error::new(
            found.span(),
            "a task cannot return a borrow, as its result outlives the call: return an owned value",
        ));
    }
    if options.state.is_some() { Ok(()) } else { nested(ty) }
}

/// Does this pattern bind `name`?
pub(crate) fn binds(pattern: &Pat, name: &syn::Ident) -> bool {
    mentioned(pattern.to_token_stream(), &name.to_string()).is_some()
}

/// The span of a signature's result.
pub(crate) fn result_span(signature: &Signature) -> proc_macro2::Span {
    match &signature.output {
        ReturnType::Default => signature.ident.span(),
        ReturnType::Type(_, ty) => ty.span(),
    }
}
