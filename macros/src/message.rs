//! What `#[message]` generates: rkyv's derives, every field through `Auto`, and the implementation of `Message` on top.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Field, Fields, GenericParam, Path, Result, Type, parse_quote};

use crate::options::MessageOptions;
use crate::signature::mentions;

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = MessageOptions::parse(arguments)?;
    let mut input: DeriveInput = syn::parse2(item.clone()).map_err(|error| {
        let is_item = item.into_iter().any(
            |token| matches!(&token, proc_macro2::TokenTree::Ident(ident) if ident == "struct" || ident == "enum"),
        );
        if is_item { error } else { Error::new(error.span(), "`#[message]` goes above a struct or an enum") }
    })?;
    check(&input)?;
    let krate = options.krate;
    let private: Path = parse_quote!(#krate::__private);
    let implementation = implement(&input, &private);

    let recursive = mark_fields(&mut input, &private);
    let derives = options.derives.map(|derives| quote!(, derive(#derives)));
    let bounds = (!recursive.is_empty()).then(|| recursive_bounds(&recursive, &private));
    Ok(quote! {
        #[derive(#private::rkyv::Archive, #private::rkyv::Serialize, #private::rkyv::Deserialize)]
        #[rkyv(crate = #private::rkyv #derives #bounds)]
        #input
        #implementation
    })
}

fn fields(data: &Data) -> impl Iterator<Item = &Field> {
    let (one, many) = match data {
        Data::Struct(data) => (Some(&data.fields), None),
        Data::Enum(data) => (None, Some(data.variants.iter().map(|variant| &variant.fields))),
        Data::Union(_) => (None, None),
    };
    one.into_iter().chain(many.into_iter().flatten()).flat_map(Fields::iter)
}

fn check(input: &DeriveInput) -> Result<()> {
    if let Data::Union(data) = &input.data {
        return Err(Error::new_spanned(data.union_token, "a union cannot be a message: make it an enum"));
    }
    if let Data::Enum(data) = &input.data
        && data.variants.is_empty()
    {
        return Err(Error::new_spanned(&input.ident, "an enum without variants has no value to send: give it one"));
    }
    if let Some(lifetime) = input.generics.lifetimes().next() {
        return Err(Error::new_spanned(
            lifetime,
            "a message owns what it holds, as it outlives the process that sends it: use `String` instead of `&str`, \
             `Vec` instead of a slice, and leave the lifetime out",
        ));
    }
    fields(&input.data).try_for_each(|field| owned(&field.ty))
}

/// Refuses fields that can never be messages.
fn owned(ty: &Type) -> Result<()> {
    match ty {
        Type::Reference(found) => Err(Error::new_spanned(
            found,
            "a message owns what it holds: use `String` instead of `&str`, `Vec` instead of a slice",
        )),
        Type::Ptr(found) => {
            Err(Error::new_spanned(found, "a pointer means nothing in another process: hold the value it points to"))
        }
        Type::FnPtr(found) => Err(Error::new_spanned(
            found,
            "a function pointer means nothing in another process: hold an enum that says which function",
        )),
        Type::TraitObject(found) => {
            Err(Error::new_spanned(found, "a trait object is no message: hold an enum of the types it may be"))
        }
        Type::Array(array) => owned(&array.elem),
        Type::Tuple(tuple) => tuple.elems.iter().try_for_each(owned),
        Type::Paren(paren) => owned(&paren.elem),
        Type::Path(path) => path.path.segments.iter().try_for_each(|segment| match &segment.arguments {
            syn::PathArguments::AngleBracketed(arguments) => {
                arguments.args.iter().try_for_each(|argument| match argument {
                    // `Cow<'static, str>` and `PhantomData<&T>` are left to the compiler.
                    syn::GenericArgument::Type(Type::Reference(_)) if segment.ident == "PhantomData" => Ok(()),
                    syn::GenericArgument::Type(ty) => owned(ty),
                    _ => Ok(()),
                })
            }
            _ => Ok(()),
        }),
        _ => Ok(()),
    }
}

/// Does the field say itself how rkyv shall archive it?
fn has_with(field: &Field) -> bool {
    field
        .attrs
        .iter()
        .any(|attribute| attribute.path().is_ident("rkyv") && attribute.to_token_stream().to_string().contains("with"))
}

/// Sends every field through `Auto`. Returns the types of fields that hold the type itself.
fn mark_fields(input: &mut DeriveInput, private: &Path) -> Vec<Type> {
    let name = input.ident.clone();
    let all: Vec<&mut Field> = match &mut input.data {
        Data::Struct(data) => data.fields.iter_mut().collect(),
        Data::Enum(data) => data.variants.iter_mut().flat_map(|variant| variant.fields.iter_mut()).collect(),
        Data::Union(_) => Vec::new(),
    };
    let mut recursive: Vec<Type> = Vec::new();
    for field in all {
        if has_with(field) {
            continue;
        }
        field.attrs.push(parse_quote!(#[rkyv(with = #private::Auto)]));
        if mentions(field.ty.to_token_stream(), &name) {
            field.attrs.push(parse_quote!(#[rkyv(omit_bounds)]));
            let same = |ty: &Type| ty.to_token_stream().to_string() == field.ty.to_token_stream().to_string();
            if !recursive.iter().any(same) {
                recursive.push(field.ty.clone());
            }
        }
    }
    recursive
}

/// What rkyv's derives cannot infer for a type that holds itself: the bounds of those fields, without the cycle.
fn recursive_bounds(types: &[Type], private: &Path) -> TokenStream {
    let rkyv = quote!(#private::rkyv);
    quote! {
        , serialize_bounds(#(#private::Auto: #rkyv::with::SerializeWith<#types, __S>),*)
        , deserialize_bounds(#(
            #private::Auto: #rkyv::with::DeserializeWith<
                <#private::Auto as #rkyv::with::ArchiveWith<#types>>::Archived, #types, __D>
        ),*)
        , bytecheck(bounds(
            __C: #rkyv::validation::ArchiveContext + #rkyv::validation::SharedContext,
            <__C as #rkyv::rancor::Fallible>::Error: #rkyv::rancor::Source,
        ))
    }
}

fn implement(input: &DeriveInput, private: &Path) -> TokenStream {
    let name = &input.ident;
    let archived = format_ident!("Archived{}", name);
    let mut generics = input.generics.clone();
    for parameter in &mut generics.params {
        if let GenericParam::Type(parameter) = parameter {
            parameter.bounds.push(parse_quote!(#private::Message));
            parameter.default = None;
        }
    }
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let copy = copy(input, private, &archived, &type_generics.to_token_stream());
    let mut with_lifetime = generics.clone();
    with_lifetime.params.insert(0, parse_quote!('__r));
    let (feed_generics, ..) = with_lifetime.split_for_impl();
    let rkyv = quote!(#private::rkyv);
    quote! {
        #[automatically_derived]
        #[allow(clippy::all, clippy::pedantic)]
        const _: () = {
            impl #impl_generics #private::Message for #name #type_generics #where_clause {
                type Archived = #archived #type_generics;
                type Resolver = <Self as #rkyv::Archive>::Resolver;

                #copy

                #[inline]
                fn write_parts(
                    this: &Self,
                    encoder: &mut #private::Encoder,
                ) -> ::core::result::Result<Self::Resolver, #private::EncodeError> {
                    <Self as #rkyv::Serialize<#private::Encoder>>::serialize(this, encoder)
                }

                #[inline]
                fn write_root(this: &Self, resolver: Self::Resolver, out: #rkyv::Place<Self::Archived>) {
                    <Self as #rkyv::Archive>::resolve(this, resolver, out)
                }

                #[inline]
                fn read(
                    archived: &Self::Archived,
                    decoder: &mut #private::Decoder,
                ) -> ::core::result::Result<Self, #private::DecodeError> {
                    <Self::Archived as #rkyv::Deserialize<Self, #private::Decoder>>::deserialize(archived, decoder)
                }
            }

            impl #impl_generics #private::InPlace for #archived #type_generics #where_clause {}

            impl #feed_generics #private::Feed<#private::InArchive, &'__r #archived #type_generics>
                for #name #type_generics #where_clause
            {
                #[inline]
                unsafe fn feed(
                    self,
                    encoder: &mut #private::Encoder,
                    slot: *mut u8,
                ) -> ::core::result::Result<(), #private::EncodeError> {
                    // SAFETY: passed on to the caller.
                    unsafe { encoder.put(&self, slot) }
                }
            }
        };
    }
}

/// `COPY` of a struct whose fields all are copied, lie in order and leave no gaps.
fn copy(input: &DeriveInput, private: &Path, archived: &Ident, type_generics: &TokenStream) -> TokenStream {
    let Data::Struct(data) = &input.data else { return TokenStream::new() };
    if data.fields.iter().any(has_with) {
        return TokenStream::new();
    }
    let types: Vec<_> = data.fields.iter().map(|field| &field.ty).collect();
    let members: Vec<_> = data.fields.members().collect();
    let offsets = types.iter().zip(&members).map(|(ty, member)| {
        quote_spanned! {ty.span()=>
            <#ty as #private::Message>::COPY.is_enabled()
                && ::core::mem::offset_of!(Self, #member) == ::core::mem::offset_of!(#archived #type_generics, #member)
        }
    });
    quote! {
        // SAFETY: the condition says that there are no padding bytes and that all bytes are those of the fields, which
        // `COPY` says are the same in both forms.
        const COPY: #private::rkyv::traits::CopyOptimization<Self> = unsafe {
            #private::rkyv::traits::CopyOptimization::enable_if(
                #(#offsets &&)*
                ::core::mem::size_of::<Self>() == ::core::mem::size_of::<#archived #type_generics>()
                    && ::core::mem::size_of::<Self>() == 0 #(+ ::core::mem::size_of::<#types>())*
            )
        };
    }
}
