//! What `#[message(plain)]` generates: the type is its own archived form, and may lie in shared memory to be changed there.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, GenericParam, Ident, Path, Result, parse_quote};

use crate::message::fields;
use crate::signature::at;

pub(crate) fn check(input: &DeriveInput, option: &Ident) -> Result<()> {
    if let Data::Enum(data) = &input.data {
        return Err(Error::new_spanned(
            data.enum_token,
            "an enum is not plain, as most bytes are none of its variants: hold a number, and make it an enum where it is read",
        ));
    }
    let layout = input.attrs.iter().filter(|attribute| attribute.path().is_ident("repr")).any(|attribute| {
        let text = attribute.meta.require_list().map(|list| list.tokens.to_string()).unwrap_or_default();
        text.split(',').any(|word| matches!(word.trim(), "C" | "transparent"))
    });
    if !layout {
        return Err(Error::new(option.span(), "a plain type has its fields in the order written: add `#[repr(C)]`"));
    }
    Ok(())
}

pub(crate) fn expand(input: &DeriveInput, krate: &Path) -> TokenStream {
    let private: Path = parse_quote!(#krate::__private);
    let mut generics = input.generics.clone();
    for parameter in &mut generics.params {
        if let GenericParam::Type(parameter) = parameter {
            parameter.bounds.push(parse_quote!(#private::Plain));
            parameter.default = None;
        }
    }
    let name = &input.ident;
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let (rkyv, bytemuck, result) = (quote!(#private::rkyv), quote!(#private::bytemuck), quote!(::core::result::Result));
    let types: Vec<_> = fields(&input.data).map(|field| &field.ty).collect();
    let checks = types.iter().map(|ty| {
        let private = at(ty.span(), &private);
        quote_spanned!(ty.span()=> #private::is_plain::<#ty>();)
    });
    quote! {
        #input

        #[automatically_derived]
        #[allow(clippy::all, clippy::pedantic)]
        const _: () = {
            #[allow(dead_code)]
            fn __fields #impl_generics () #where_clause { #(#checks)* }

            // SAFETY: all fields are plain, which is checked above: zero is a value of each.
            unsafe impl #impl_generics #bytemuck::Zeroable for #name #type_generics #where_clause {}

            // SAFETY: all fields are plain, which is checked above: any bytes are a value of each.
            unsafe impl #impl_generics #bytemuck::AnyBitPattern for #name #type_generics #where_clause {}

            // SAFETY: `repr(C)`, and read only by members of one build on one machine.
            unsafe impl #impl_generics #rkyv::Portable for #name #type_generics #where_clause {}

            // SAFETY: all bytes are a value.
            unsafe impl #impl_generics #rkyv::bytecheck::CheckBytes<#private::Checker> for #name #type_generics
                #where_clause
            {
                unsafe fn check_bytes(
                    _: *const Self,
                    _: &mut #private::Checker,
                ) -> #result<(), #private::DecodeError> {
                    #result::Ok(())
                }
            }

            // SAFETY: the archived form is the type itself, and is written and read whole.
            unsafe impl #impl_generics #private::Message for #name #type_generics #where_clause {
                type Archived = Self;
                type Resolver = ();

                // SAFETY: the archived form is the type itself, and the condition says that it has no padding.
                const COPY: #rkyv::traits::CopyOptimization<Self> = unsafe {
                    #rkyv::traits::CopyOptimization::enable_if(
                        ::core::mem::size_of::<Self>() == 0 #(+ ::core::mem::size_of::<#types>())*
                    )
                };

                #[inline]
                fn write_parts(_: &Self, _: &mut #private::Encoder) -> #result<(), #private::EncodeError> {
                    #result::Ok(())
                }

                #[inline]
                fn write_root(this: &Self, _: (), out: #rkyv::Place<Self>) {
                    // SAFETY: the type is `Copy`; what padding holds is read by nobody, as the type has no use for it.
                    unsafe { out.write_unchecked(::core::ptr::read(this)) };
                }

                #[inline]
                fn read(archived: &Self, _: &mut #private::Decoder) -> #result<Self, #private::DecodeError> {
                    // SAFETY: the type is `Copy`.
                    #result::Ok(unsafe { ::core::ptr::read(archived) })
                }
            }

            // SAFETY: the archived form is the type itself.
            unsafe impl #impl_generics #private::SliceItem for #name #type_generics #where_clause {}
        };
    }
}
