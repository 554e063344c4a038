//! What `#[message]` generates: the archived form, how it is checked, and the implementation of `Message`.
//!
//! Not rkyv's derives: they know no `PathBuf`, want bounds spelled out for types that hold themselves, and report a field
//! that is no message a dozen times. Here every mention of a field's type bears that type's span, so the compiler says it
//! once, there.
//!
//! The archived form of a struct is `repr(C)`. That of an enum is `repr(u8)`: defined to be a union of `repr(C)` structs
//! that start with the tag, one per variant, which are generated too (`raw`), so that fields can be written in place.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Data, DataEnum, DeriveInput, Error, Field, Fields, GenericParam, Index, Member, Path, Result, Type, parse_quote,
};

use crate::options::MessageOptions;
use crate::plain;
use crate::signature::at;

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = MessageOptions::parse(arguments)?;
    let input: DeriveInput = syn::parse2(item.clone()).map_err(|error| {
        let is_item = item.into_iter().any(
            |token| matches!(&token, proc_macro2::TokenTree::Ident(ident) if ident == "struct" || ident == "enum"),
        );
        if is_item { error } else { Error::new(error.span(), "`#[message]` goes above a struct or an enum") }
    })?;
    check(&input)?;
    let krate = &options.krate;
    if let Some(plain) = &options.plain {
        plain::check(&input, plain)?;
        return Ok(plain::expand(&input, krate));
    }
    let form = Form::new(&input, parse_quote!(#krate::__private));
    let archived = form.archived(options.derives);
    let implementation = form.implementation();
    let key = options.key.map(|_| form.key());
    Ok(quote! {
        #input
        #archived
        #[automatically_derived]
        #[allow(clippy::all, clippy::pedantic, non_camel_case_types)]
        const _: () = { #implementation #key };
    })
}

pub(crate) fn fields(data: &Data) -> impl Iterator<Item = &Field> {
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
    if let Data::Enum(data) = &input.data {
        if data.variants.is_empty() {
            return Err(Error::new_spanned(&input.ident, "an enum without variants has no value to send: give it one"));
        }
        if data.variants.len() > 256 {
            return Err(Error::new_spanned(&input.ident, "a message has at most 256 variants: group them"));
        }
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
                    // A type that is only named holds nothing.
                    syn::GenericArgument::Type(_) if segment.ident == "PhantomData" => Ok(()),
                    syn::GenericArgument::Type(ty) => owned(ty),
                    _ => Ok(()),
                })
            }
            _ => Ok(()),
        }),
        _ => Ok(()),
    }
}

/// The type and its archived form.
struct Form<'a> {
    input: &'a DeriveInput,
    private: Path,
    archived: Ident,
    /// The type's, with `Message` asked of each type parameter.
    generics: syn::Generics,
}

/// One field, as generated code names it.
struct Part<'a> {
    ty: &'a Type,
    member: Member,
    /// A variable of its own.
    binding: Ident,
    resolver: Ident,
    /// Its place in a raw variant, after the tag.
    raw: Index,
}

fn parts(fields: &Fields) -> Vec<Part<'_>> {
    let entries = fields.iter().zip(fields.members()).enumerate();
    let part = entries.map(|(index, (field, member))| Part {
        ty: &field.ty,
        member,
        binding: Ident::new(&format!("__field_{index}"), Span::mixed_site()),
        resolver: Ident::new(&format!("__resolver_{index}"), Span::mixed_site()),
        raw: Index::from(index + 1),
    });
    part.collect()
}

impl<'a> Form<'a> {
    fn new(input: &'a DeriveInput, private: Path) -> Self {
        let mut generics = input.generics.clone();
        for parameter in &mut generics.params {
            if let GenericParam::Type(parameter) = parameter {
                parameter.bounds.push(parse_quote!(#private::Message));
                parameter.default = None;
            }
        }
        // Mentions have the attribute's span: what is wrong with a field is then said there once, beside the field.
        let archived = format_ident!("Archived{}", input.ident, span = Span::call_site());
        Form { input, private, archived, generics }
    }

    /// `<F as Message>`, at the field's type.
    fn message(&self, ty: &Type) -> TokenStream {
        let private = at(ty.span(), &self.private);
        quote_spanned!(ty.span()=> <#ty as #private::Message>)
    }

    fn archived_field(&self, field: &Field) -> TokenStream {
        let (visibility, message, span) = (&field.vis, self.message(&field.ty), field.ty.span());
        match &field.ident {
            Some(name) => {
                let mut name = name.clone();
                name.set_span(name.span().located_at(span));
                quote_spanned!(span=> #visibility #name: #message::Archived)
            }
            None => quote_spanned!(span=> #visibility #message::Archived),
        }
    }

    /// The definition of the archived type.
    fn archived(&self, derives: Option<TokenStream>) -> TokenStream {
        let Form { input, generics, .. } = self;
        let archived = Ident::new(&self.archived.to_string(), input.ident.span());
        let (visibility, where_clause) = (&input.vis, &generics.where_clause);
        let derives = derives.map(|derives| quote!(#[derive(#derives)]));
        let doc = format!("The archived form of [`{}`], as it lies in shared memory.", input.ident);
        let attributes =
            quote!(#[doc = #doc] #[allow(dead_code, missing_docs, clippy::all, clippy::pedantic)] #derives);
        match &input.data {
            Data::Enum(data) => {
                let variants = data.variants.iter().map(|variant| {
                    let name = &variant.ident;
                    let fields = variant.fields.iter().map(|field| self.archived_field(field));
                    match &variant.fields {
                        Fields::Named(_) => quote!(#name { #(#fields),* }),
                        Fields::Unnamed(_) => quote!(#name(#(#fields),*)),
                        Fields::Unit => quote!(#name),
                    }
                });
                quote!(#attributes #[repr(u8)] #visibility enum #archived #generics #where_clause { #(#variants),* })
            }
            Data::Struct(data) => {
                let fields = data.fields.iter().map(|field| self.archived_field(field));
                let body = match &data.fields {
                    Fields::Named(_) => quote!(#where_clause { #(#fields),* }),
                    Fields::Unnamed(_) => quote!((#(#fields),*) #where_clause;),
                    Fields::Unit => quote!(#where_clause;),
                };
                quote!(#attributes #[repr(C)] #visibility struct #archived #generics #body)
            }
            Data::Union(_) => TokenStream::new(),
        }
    }

    /// That the type can be a key: all its fields can.
    fn key(&self) -> TokenStream {
        let Form { input, private, .. } = self;
        let mut generics = self.generics.clone();
        for parameter in &mut generics.params {
            if let GenericParam::Type(parameter) = parameter {
                parameter.bounds.push(parse_quote!(#private::Key));
            }
        }
        let name = &input.ident;
        let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
        let checks = fields(&input.data).map(|field| {
            let (ty, private) = (&field.ty, at(field.ty.span(), private));
            quote_spanned!(ty.span()=> #private::is_key::<#ty>();)
        });
        quote! {
            #[allow(dead_code)]
            fn __keys #impl_generics () #where_clause { #(#checks)* }

            // SAFETY: all fields are keys, which is checked above; gaps between them are never written, and were zero.
            unsafe impl #impl_generics #private::Key for #name #type_generics #where_clause {}
        }
    }

    fn implementation(&self) -> TokenStream {
        let Form { input, private, archived, generics } = self;
        let mut name = input.ident.clone();
        name.set_span(name.span().located_at(Span::call_site()));
        let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
        let rkyv = quote!(#private::rkyv);
        let Bodies { items, resolver, copy, write_parts, write_root, read, check } = match &input.data {
            Data::Struct(data) => self.of_struct(&data.fields),
            Data::Enum(data) => self.of_enum(data),
            Data::Union(_) => return TokenStream::new(),
        };
        let mut with_lifetime = generics.clone();
        with_lifetime.params.insert(0, parse_quote!('__r));
        let (feed_generics, ..) = with_lifetime.split_for_impl();
        let result = quote!(::core::result::Result);
        quote! {
            #items

            // SAFETY: a `repr(C)` struct or `repr(u8)` enum of archived forms, which are portable.
            unsafe impl #impl_generics #rkyv::Portable for #archived #type_generics #where_clause {}

            // SAFETY: checks the tag, then each field.
            unsafe impl #impl_generics #rkyv::bytecheck::CheckBytes<#private::Checker> for #archived #type_generics
                #where_clause
            {
                unsafe fn check_bytes(
                    value: *const Self,
                    checker: &mut #private::Checker,
                ) -> #result<(), #private::DecodeError> {
                    #check
                    #result::Ok(())
                }
            }

            // SAFETY: every field of the archived form is written by its own type, and the tag before them.
            unsafe impl #impl_generics #private::Message for #name #type_generics #where_clause {
                type Archived = #archived #type_generics;
                type Resolver = #resolver;

                #copy

                #[inline]
                fn write_parts(
                    this: &Self,
                    encoder: &mut #private::Encoder,
                ) -> #result<Self::Resolver, #private::EncodeError> {
                    #write_parts
                }

                #[inline]
                fn write_root(this: &Self, resolver: Self::Resolver, out: #rkyv::Place<Self::Archived>) {
                    #write_root
                }

                #[inline]
                fn read(
                    archived: &Self::Archived,
                    decoder: &mut #private::Decoder,
                ) -> #result<Self, #private::DecodeError> {
                    #read
                }
            }

            impl #impl_generics #private::InPlace for #archived #type_generics #where_clause {}

            #[diagnostic::do_not_recommend]
            impl #feed_generics #private::Feed<#private::InArchive, &'__r #archived #type_generics>
                for #name #type_generics #where_clause
            {
                #[inline]
                unsafe fn feed(
                    &self,
                    encoder: &mut #private::Encoder,
                    slot: *mut u8,
                ) -> #result<(), #private::EncodeError> {
                    // SAFETY: passed on to the caller.
                    unsafe { encoder.put(self, slot) }
                }
            }
        }
    }

    fn of_struct(&self, fields: &Fields) -> Bodies {
        let private = &self.private;
        let parts = parts(fields);
        let messages: Vec<_> = parts.iter().map(|part| self.message(part.ty)).collect();
        let spans: Vec<_> = parts.iter().map(|part| part.ty.span()).collect();
        let write_parts = parts.iter().zip(&messages).zip(&spans).map(|((Part { member, .. }, message), &span)| {
            quote_spanned!(span=> #message::write_parts(&this.#member, encoder)?)
        });
        let write_root = parts.iter().zip(&messages).enumerate().map(|(index, (part, message))| {
            let (member, index) = (&part.member, Index::from(index));
            quote! {
                // SAFETY: a field of the place, which is aligned and initialised as a whole.
                let __field = unsafe {
                    #private::rkyv::Place::from_field_unchecked(out, &raw mut (*#private::rkyv::Place::ptr(&out)).#member)
                };
                #message::write_root(&this.#member, resolver.#index, __field);
            }
        });
        let read = parts.iter().zip(&messages).zip(&spans).map(|((Part { member, .. }, message), &span)| {
            quote_spanned!(span=> #member: #message::read(&archived.#member, decoder)?)
        });
        let check = parts.iter().zip(&messages).map(|(part, message)| {
            let member = &part.member;
            check_field(private, message, &quote!(value), member)
        });
        Bodies {
            items: TokenStream::new(),
            resolver: quote!((#(#messages::Resolver,)*)),
            copy: self.copy(&parts),
            write_parts: quote!(::core::result::Result::Ok((#(#write_parts,)*))),
            write_root: quote!(#(#write_root)*),
            read: quote!(::core::result::Result::Ok(Self { #(#read,)* })),
            check: quote!(#(#check)*),
        }
    }

    /// `COPY` of a struct whose fields all are copied, lie in order and leave no gaps.
    fn copy(&self, parts: &[Part<'_>]) -> TokenStream {
        let private = &self.private;
        let types = parts.iter().map(|part| part.ty);
        let conditions = parts.iter().map(|Part { ty, member, .. }| {
            let message = self.message(ty);
            quote_spanned! {ty.span()=>
                #message::COPY.is_enabled()
                    && ::core::mem::offset_of!(Self, #member)
                        == ::core::mem::offset_of!(<Self as #private::Message>::Archived, #member)
            }
        });
        quote! {
            // SAFETY: the condition says that there are no padding bytes and that all bytes are those of the fields, which
            // `COPY` says are the same in both forms.
            const COPY: #private::rkyv::traits::CopyOptimization<Self> = unsafe {
                #private::rkyv::traits::CopyOptimization::enable_if(
                    #(#conditions &&)*
                    ::core::mem::size_of::<Self>() == ::core::mem::size_of::<<Self as #private::Message>::Archived>()
                        && ::core::mem::size_of::<Self>() == 0 #(+ ::core::mem::size_of::<#types>())*
                )
            };
        }
    }

    fn of_enum(&self, data: &DataEnum) -> Bodies {
        let Form { private, generics, archived, .. } = self;
        let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
        let phantom = {
            let types = generics.type_params().map(|parameter| &parameter.ident);
            quote!(::core::marker::PhantomData<(#(fn() -> #types,)*)>)
        };
        let (mut raws, mut resolvers) = (Vec::new(), Vec::new());
        let (mut writes, mut roots, mut reads, mut checks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (tag, variant) in data.variants.iter().enumerate() {
            let (name, tag) = (&variant.ident, Literal::u8_suffixed(tag as u8));
            let raw = format_ident!("__Raw{}", name);
            let parts = parts(&variant.fields);
            let messages: Vec<_> = parts.iter().map(|part| self.message(part.ty)).collect();
            let members: Vec<_> = parts.iter().map(|part| &part.member).collect();
            let bindings: Vec<_> = parts.iter().map(|part| &part.binding).collect();
            let resolver_bindings: Vec<_> = parts.iter().map(|part| &part.resolver).collect();
            raws.push(quote! {
                #[repr(C)]
                struct #raw #impl_generics(u8 #(, #messages::Archived)*, #phantom) #where_clause;
            });
            resolvers.push(quote!(#name(#(#messages::Resolver),*)));
            let writing = parts.iter().zip(&messages).map(|(part, message)| {
                let binding = &part.binding;
                quote_spanned!(part.ty.span()=> #message::write_parts(#binding, encoder)?)
            });
            writes.push(quote! {
                Self::#name { #(#members: #bindings),* } => __Resolver::#name(#(#writing),*)
            });
            let rooting = parts.iter().zip(&messages).map(|(part, message)| {
                let Part { binding, resolver, raw, .. } = part;
                quote! {
                    // SAFETY: a field of the variant, of which the place is aligned and initialised as a whole.
                    let __field = unsafe {
                        #private::rkyv::Place::from_field_unchecked(__raw, &raw mut (*#private::rkyv::Place::ptr(&__raw)).#raw)
                    };
                    #message::write_root(#binding, #resolver, __field);
                }
            });
            roots.push(quote! {
                (Self::#name { #(#members: #bindings),* }, __Resolver::#name(#(#resolver_bindings),*)) => {
                    // SAFETY: `repr(u8)` makes the enum a union of these structs.
                    let __raw = unsafe { out.cast_unchecked::<#raw #type_generics>() };
                    // SAFETY: the tag is the first field of each.
                    unsafe { (&raw mut (*#private::rkyv::Place::ptr(&__raw)).0).write(#tag) };
                    #(#rooting)*
                }
            });
            let reading = parts.iter().zip(&messages).map(|(part, message)| {
                let Part { binding, member, .. } = part;
                quote_spanned!(part.ty.span()=> #member: #message::read(#binding, decoder)?)
            });
            reads.push(quote! {
                #archived::#name { #(#members: #bindings),* } => Self::#name { #(#reading),* }
            });
            let checking = parts.iter().zip(&messages).map(|(part, message)| {
                check_field(private, message, &quote!(__raw), &Member::Unnamed(part.raw.clone()))
            });
            checks.push(quote! {
                #tag => {
                    let __raw = value.cast::<#raw #type_generics>();
                    #(#checking)*
                }
            });
        }
        Bodies {
            items: quote! {
                #(#raws)*

                pub enum __Resolver #impl_generics #where_clause {
                    #(#resolvers,)*
                    #[allow(dead_code)]
                    __Never(::core::convert::Infallible, #phantom),
                }
            },
            resolver: quote!(__Resolver #type_generics),
            copy: TokenStream::new(),
            write_parts: quote!(::core::result::Result::Ok(match this { #(#writes,)* })),
            write_root: quote! {
                match (this, resolver) {
                    #(#roots)*
                    // A resolver is one of the same value.
                    _ => {}
                }
            },
            read: quote!(::core::result::Result::Ok(match archived { #(#reads,)* })),
            check: quote! {
                // SAFETY: the caller says that the value's bytes can be read; the tag is the first of them.
                match unsafe { value.cast::<u8>().read() } {
                    #(#checks)*
                    tag => {
                        return ::core::result::Result::Err(#private::DecodeError::unknown_variant(
                            ::core::any::type_name::<Self>(), tag,
                        ));
                    }
                }
            },
        }
    }
}

/// Checks one field of what `value` points to.
fn check_field(private: &Path, message: &TokenStream, value: &TokenStream, member: &Member) -> TokenStream {
    // Only `message` has the span of the user's type: an `unsafe` with it would count as the user's own.
    quote! {
        // SAFETY: a field of the value, all of whose bytes can be read.
        unsafe {
            <#message::Archived as #private::rkyv::bytecheck::CheckBytes<#private::Checker>>::check_bytes(
                &raw const (*#value).#member,
                checker,
            )?;
        }
    }
}

/// What differs between structs and enums.
struct Bodies {
    items: TokenStream,
    resolver: TokenStream,
    copy: TokenStream,
    write_parts: TokenStream,
    write_root: TokenStream,
    read: TokenStream,
    check: TokenStream,
}
