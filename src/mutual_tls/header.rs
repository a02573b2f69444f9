//! [`CertificateHeader`]: the header in which a proxy passes the client's certificate on.
//!
//! *In*: the headers of a request. *Out*: the hash of the certificate, that there is none, or that the header is malformed.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderName, header};

use super::{BadCertificate, pem, thumbprint_of_der, xfcc};
use crate::{config_error::ConfigMistake, confirmation::Thumbprint};

/// The header in which a proxy passes the client's certificate on: its name and its form.
///
/// Each constructor shows the configuration of a proxy. All of them make the certificate optional, and accept certificates of
/// any issuer, because the token names the certificate (RFC 8705 §6.2).
/// [`MutualTls::behind_proxy`](super::MutualTls::behind_proxy) says what a header costs.
///
/// A name that is not the name of a header, or that has a meaning of its own, is a mistake in
/// [`ResourceServerBuilder::build`](crate::server::ResourceServerBuilder::build).
#[derive(Debug, Clone)]
pub struct CertificateHeader {
    name: Result<HeaderName, ConfigMistake>,
    dialect: Dialect,
}

/// How the value of the header is written.
#[derive(Debug, Clone, Copy)]
enum Dialect {
    Rfc9440,
    Xfcc,
    Pem,
}

impl CertificateHeader {
    /// `Client-Cert` of RFC 9440: the DER in base64 between colons. The chain in `Client-Cert-Chain` is not read.
    ///
    /// HAProxy:
    ///
    /// ```text
    /// bind :443 ssl crt server.pem ca-file clients.pem verify optional ca-ignore-err all crt-ignore-err all
    /// http-request del-header Client-Cert
    /// http-request set-header Client-Cert :%[ssl_c_der,base64]: if { ssl_c_used }
    /// ```
    #[must_use]
    pub fn rfc9440() -> Self {
        Self { name: Ok(HeaderName::from_static("client-cert")), dialect: Dialect::Rfc9440 }
    }

    /// `X-Forwarded-Client-Cert` of Envoy, Istio and others: one element with `Hash=`, `Cert=` or both, which must then
    /// agree. Two elements are refused, because then a second proxy has added one, or the client has.
    ///
    /// Envoy, in the HTTP connection manager:
    ///
    /// ```text
    /// forward_client_cert_details: SANITIZE_SET
    /// set_current_client_cert_details: { cert: true }
    /// ```
    ///
    /// `APPEND_FORWARD` and `FORWARD_ONLY` are wrong here: they let a header from outside pass.
    #[must_use]
    pub fn xfcc() -> Self {
        Self { name: Ok(HeaderName::from_static("x-forwarded-client-cert")), dialect: Dialect::Xfcc }
    }

    /// The certificate in PEM or in base64, in the header of this name. Of several certificates the first is the client's.
    ///
    /// The form may be percent-encoded or not, with or without the lines `-----BEGIN CERTIFICATE-----` and
    /// `-----END CERTIFICATE-----`, with spaces or without them. Several certificates follow each other, or have a comma
    /// between them. `+` is a digit of base64, never a space.
    ///
    /// | proxy | configuration |
    /// |---|---|
    /// | nginx | `ssl_verify_client optional_no_ca;` and `proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;` |
    /// | Apache | `SSLVerifyClient optional_no_ca`, `SSLOptions +ExportCertData`, and `RequestHeader set X-SSL-Client-Cert "expr=%{escape:%{SSL_CLIENT_CERT}}"` |
    /// | HAProxy | `http-request set-header X-SSL-Client-Cert %[ssl_c_der,base64]`, with the line `bind` of [`rfc9440`](Self::rfc9440) |
    /// | Traefik | `passTLSClientCert: { pem: true }`, which writes `X-Forwarded-Tls-Client-Cert`; only if `forwardedHeaders` trusts nothing, because without a client certificate the header from outside stays |
    /// | AWS ALB | mode *verify* writes `X-Amzn-Mtls-Clientcert-Leaf`, mode *passthrough* `X-Amzn-Mtls-Clientcert`; test that a header from outside is removed |
    /// | Azure App Service | client certificate mode *optional* writes `X-ARR-ClientCert`; test that a header from outside is removed |
    #[must_use]
    pub fn pem(name: &str) -> Self {
        Self { name: header_name(name), dialect: Dialect::Pem }
    }

    pub(super) fn name(&self) -> Result<&HeaderName, ConfigMistake> {
        self.name.as_ref().map_err(Clone::clone)
    }

    pub(super) fn thumbprint(&self, headers: &HeaderMap) -> Result<Option<Thumbprint>, BadCertificate> {
        let name = self.name.as_ref().map_err(|_| BadCertificate("its name is not a header name"))?;
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            // RFC 9440 §2.1. In the other forms a proxy that adds a header leaves that of the client beside it.
            return Err(BadCertificate("the header occurs twice"));
        }
        let value = value.as_bytes();
        if value.len() > MAX_BYTES {
            return Err(BadCertificate("the header is too long"));
        }
        let thumbprint = match self.dialect {
            Dialect::Rfc9440 => of_byte_sequence(value),
            Dialect::Xfcc => xfcc::thumbprint(value),
            Dialect::Pem => pem::thumbprint(value),
        };
        thumbprint.map(Some)
    }
}

fn header_name(name: &str) -> Result<HeaderName, ConfigMistake> {
    let mistake = |found: &str| {
        let change = "give the name of the header that the proxy replaces, such as x-ssl-client-cert";
        ConfigMistake::new("mutual_tls", format!("{name:?} {found}"), change)
    };
    match HeaderName::try_from(name) {
        Ok(header::AUTHORIZATION | header::COOKIE | header::HOST) => Err(mistake("has a meaning of its own")),
        Ok(name) if name == "dpop" => Err(mistake("has a meaning of its own")),
        Ok(name) => Ok(name),
        Err(_) => Err(mistake("is not a header name")),
    }
}

/// Reads one byte sequence without parameters (RFC 9440 §2.1, RFC 9651 §4.2.7).
fn of_byte_sequence(value: &[u8]) -> Result<Thumbprint, BadCertificate> {
    let content = value.trim_ascii().strip_prefix(b":").and_then(|rest| rest.strip_suffix(b":"));
    let content = content.ok_or(BadCertificate("the header is not one byte sequence"))?;
    let der = BYTE_SEQUENCE.decode(content).map_err(|_| BadCertificate("the header is not base64"))?;
    thumbprint_of_der(&der)
}

/// Padding may be missing, and bits after the last byte are ignored (RFC 9651 §4.2.7).
const BYTE_SEQUENCE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Longest value of a header. A certificate has 1 to 2 KiB.
const MAX_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use http::HeaderValue;
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::jws::sha256;

    /// A SEQUENCE of 300 bytes. Its base64 has `+`, `/` and `=`.
    fn der(first: u8) -> Vec<u8> {
        let content = (0..300_u16).map(|index| (index * 37).to_be_bytes()[1] ^ first);
        [0x30, 0x82, 1, 44].into_iter().chain(content).collect()
    }

    fn base64_of(der: &[u8]) -> String {
        let text = STANDARD.encode(der);
        assert!(text.contains('+') && text.contains('/') && text.ends_with('='));
        text
    }

    /// The PEM, with `line_break` between its lines of 64 digits and at its end.
    fn pem(der: &[u8], line_break: &str) -> String {
        let digits = base64_of(der);
        let lines: Vec<_> = digits.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        let lines = lines.join(line_break);
        format!("-----BEGIN CERTIFICATE-----{line_break}{lines}{line_break}-----END CERTIFICATE-----{line_break}")
    }

    /// As nginx writes it: everything but letters, digits and `-._~` is encoded.
    fn nginx(pem: &str) -> String {
        const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
        utf8_percent_encode(pem, ENCODED).to_string()
    }

    /// As AWS ALB writes it: `+`, `=` and `/` stay.
    fn alb(pem: &str) -> String {
        pem.replace('\n', "%0A").replace(' ', "%20")
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    fn read(header: &CertificateHeader, values: &[&[u8]]) -> Result<Option<Thumbprint>, BadCertificate> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header.name().unwrap(), HeaderValue::from_bytes(value).unwrap());
        }
        header.thumbprint(&headers)
    }

    fn check(header: &CertificateHeader, accepted: &[(&str, String)], refused: &[(&str, String)]) {
        let expected = sha256([der(0).as_slice()]);
        assert_eq!(read(header, &[]), Ok(None));
        for (why, value) in accepted {
            assert_eq!(read(header, &[value.as_bytes()]), Ok(Some(expected)), "{why}: {value}");
            assert!(read(header, &[value.as_bytes(), value.as_bytes()]).is_err(), "{why}, twice");
            assert!(read(header, &[value.as_bytes(), b""]).is_err(), "{why}, and an empty one");
            assert!(
                read(header, &[format!("{value}{}", " ".repeat(MAX_BYTES)).as_bytes()]).is_err(),
                "{why}, too long"
            );
        }
        for (why, value) in refused {
            assert!(read(header, &[value.as_bytes()]).is_err(), "{why}: {value}");
        }
        for why in ["", " ", ",", ";", "=", "%", "(null)", "\u{e9}", ":", "::", "\"\""] {
            assert!(read(header, &[why.as_bytes()]).is_err(), "{why:?}");
        }
        for bytes in [b"\xff\xfe".as_slice(), b"%FF%FE", b"%00"] {
            assert!(read(header, &[bytes]).is_err(), "{bytes:?}");
        }
    }

    /// Texts that are the base64 of no certificate.
    fn no_certificates() -> Vec<(&'static str, String)> {
        let good = der(0);
        let changed = |change: fn(&mut Vec<u8>)| {
            let mut der = good.clone();
            change(&mut der);
            STANDARD.encode(der)
        };
        vec![
            ("a byte behind the SEQUENCE", changed(|der| der.push(0))),
            ("a SEQUENCE that is cut off", changed(|der| der.truncate(200))),
            ("a length in more bytes than needed", changed(|der| drop(der.splice(1..2, [0x83, 0])))),
            ("a length of unknown size", changed(|der| drop(der.splice(1..4, [0x80])))),
            ("a SET", changed(|der| der[0] = 0x31)),
            ("an OCTET STRING", changed(|der| der[0] = 4)),
            ("no DER", STANDARD.encode("a text")),
            ("base64url", URL_SAFE.encode(&good)),
            ("hexadecimal", hex(&good)),
        ]
    }

    #[test]
    fn reads_one_byte_sequence_of_rfc_9440() {
        let good = base64_of(&der(0));
        let accepted = [
            ("as RFC 9440 writes it", format!(":{good}:")),
            ("spaces around the item", format!("  :{good}: ")),
            ("without padding", format!(":{}:", good.trim_end_matches('='))),
        ];
        let mut refused = vec![
            ("PEM", nginx(&pem(&der(0), "\n"))),
            ("base64 alone", good.clone()),
            ("a list", format!(":{good}:, :{good}:")),
            ("a list of one", format!(":{good}:,")),
            ("parameters", format!(":{good}:;a=1")),
            ("quotes", format!("\":{good}:\"")),
            ("a string", format!("\"{good}\"")),
            ("a space inside", format!(": {good}:")),
            ("not closed", format!(":{good}")),
            ("not opened", format!("{good}:")),
            ("percent-encoded", format!(":{}:", nginx(&good))),
            ("XFCC", format!("Hash={}", hex(&sha256([der(0).as_slice()])))),
        ];
        refused.extend(no_certificates().into_iter().map(|(why, text)| (why, format!(":{text}:"))));
        check(&CertificateHeader::rfc9440(), &accepted, &refused);
    }

    #[test]
    fn reads_pem_and_base64_as_proxies_write_them() {
        let (leaf, other) = (der(0), der(7));
        let both = format!("{}{}", pem(&leaf, "\n"), pem(&other, "\n"));
        let accepted = [
            ("nginx", nginx(&pem(&leaf, "\n"))),
            ("AWS ALB", alb(&pem(&leaf, "\n"))),
            ("AWS ALB, a chain", alb(&both)),
            ("nginx, a chain", nginx(&both)),
            ("Windows line breaks", nginx(&pem(&leaf, "\r\n"))),
            ("line breaks as spaces", pem(&leaf, " ")),
            ("line breaks as tabs", pem(&leaf, "\t")),
            ("no line breaks", pem(&leaf, "")),
            ("base64 alone", base64_of(&leaf)),
            ("base64 alone, encoded", nginx(&base64_of(&leaf))),
            ("Traefik, several", format!("{},{}", base64_of(&leaf), base64_of(&other))),
            ("Traefik, encoded", nginx(&format!("{},{}", base64_of(&leaf), base64_of(&other)))),
            ("a comma and a space", format!("{}, {}", base64_of(&leaf), base64_of(&other))),
            ("PEM between commas", format!("{},{}", pem(&leaf, ""), pem(&other, ""))),
        ];
        let good = base64_of(&leaf);
        let mut refused = vec![
            ("RFC 9440", format!(":{good}:")),
            ("XFCC", format!("Cert=\"{}\"", nginx(&pem(&leaf, "\n")))),
            ("a plus as a space", alb(&pem(&leaf, "\n")).replace("%20", "+")),
            ("a digit plus as a space", good.replace('+', " ")),
            ("encoded twice", nginx(&nginx(&pem(&leaf, "\n")))),
            ("quoted", format!("\"{good}\"")),
            ("without padding", good.trim_end_matches('=').to_owned()),
            ("an empty leaf", format!(",{good}")),
            ("a comma at the end", format!("{good},")),
            ("an empty one between", format!("{good},,{good}")),
            ("a malformed one behind the leaf", format!("{good},MII")),
            ("a comma behind PEM", format!("{},", pem(&leaf, ""))),
            ("text before PEM", format!("a{}", pem(&leaf, ""))),
            ("text behind PEM", format!("{}a", pem(&leaf, ""))),
            ("PEM without an end", pem(&leaf, "").replace("-----END CERTIFICATE-----", "")),
            ("another label", pem(&leaf, "").replace("CERTIFICATE", "PUBLIC KEY")),
            ("an empty block", "-----BEGIN CERTIFICATE----------END CERTIFICATE-----".to_owned()),
            ("a null byte", format!("{good}%00")),
        ];
        refused.extend(no_certificates());
        check(&CertificateHeader::pem("X-SSL-Client-Cert"), &accepted, &refused);
        let other_order = format!("{},{}", base64_of(&other), base64_of(&leaf));
        let found = read(&CertificateHeader::pem("x-ssl-client-cert"), &[other_order.as_bytes()]);
        assert_eq!(found, Ok(Some(sha256([other.as_slice()]))), "the first certificate is the leaf");
    }

    #[test]
    fn reads_the_only_element_of_x_forwarded_client_cert() {
        let (leaf, other) = (der(0), der(7));
        let hash = hex(&sha256([leaf.as_slice()]));
        let (cert, other_cert) = (nginx(&pem(&leaf, "\n")), nginx(&pem(&other, "\n")));
        let subject = r#"Subject="CN=a;Hash=00,O=\"b\\\", Inc.\";Cert=\"\"""#;
        let accepted = [
            ("a hash", format!("Hash={hash}")),
            ("a hash in capitals", format!("Hash={}", hash.to_uppercase())),
            ("a hash in quotes", format!("Hash=\"{hash}\"")),
            ("a certificate", format!("Cert=\"{cert}\"")),
            ("a certificate without quotes", format!("Cert={cert}")),
            ("both", format!("Hash={hash};Cert=\"{cert}\"")),
            ("keys in another case", format!("cert=\"{cert}\";HASH={hash}")),
            (
                "unknown keys",
                format!("By=spiffe://a;Hash={hash};New=1;URI=;DNS=a.test;DNS=b.test;Chain=\"{other_cert}\""),
            ),
            ("quotes with separators and escapes", format!("{subject};Hash={hash}")),
            ("quotes with separators at the end", format!("Hash={hash};{subject}")),
            ("text that is not ASCII", format!("Hash={hash};Subject=\"CN=\u{e9}\"")),
            ("an equals sign in a value", format!("URI=https://a.test/?b=c;Hash={hash}")),
        ];
        let refused = [
            ("Hash and Cert differ", format!("Hash={hash};Cert=\"{other_cert}\"")),
            ("Cert is malformed", format!("Hash={hash};Cert=\"MII\"")),
            ("Cert is empty", format!("Hash={hash};Cert=\"\"")),
            ("two elements", format!("Hash={hash},Hash={hash}")),
            ("two elements, the first without a hash", format!("By=a,Hash={hash}")),
            ("an empty element", format!("Hash={hash},")),
            ("an element behind quotes", format!("Subject=\"a\",Hash={hash}")),
            ("two hashes", format!("Hash={hash};Hash={hash}")),
            ("two hashes in other cases", format!("Hash={hash};hash={hash}")),
            ("two certificates", format!("Cert=\"{cert}\";Cert=\"{cert}\"")),
            ("a hash in an URI without quotes", format!("Hash={hash};URI=a;Hash={hash}")),
            ("no hash and no certificate", "By=spiffe://a;URI=b".to_owned()),
            ("only the chain", format!("Chain=\"{cert}\"")),
            ("a hash of 31 bytes", format!("Hash={}", &hash[2..])),
            ("a hash of 33 bytes", format!("Hash={hash}00")),
            ("a hash of 63 digits", format!("Hash={}", &hash[1..])),
            ("a hash with a sign", format!("Hash=+{}", &hash[1..])),
            ("an empty hash", "Hash=".to_owned()),
            ("a hash in base64url", format!("Hash={}", crate::confirmation::encoded(&sha256([leaf.as_slice()])))),
            ("no equals sign", format!("Hash={hash};a")),
            ("an empty pair", format!("Hash={hash};;By=a")),
            ("a semicolon at the end", format!("Hash={hash};")),
            ("quotes that are not closed", format!("Hash={hash};Subject=\"a")),
            ("quotes that end in an escape", format!("Hash={hash};Subject=\"a\\\"")),
            ("text behind quotes", format!("Subject=\"a\"b;Hash={hash}")),
            ("quotes inside a value", format!("Subject=a\"b\";Hash={hash}")),
            ("a quoted key", format!("\"Hash\"={hash}")),
            ("RFC 9440", format!(":{}:", base64_of(&leaf))),
            ("PEM", cert.clone()),
            ("base64", base64_of(&leaf)),
        ];
        check(&CertificateHeader::xfcc(), &accepted, &refused);
    }

    #[test]
    fn other_spellings_of_the_name_are_other_headers() {
        let value = HeaderValue::from_str(&format!(":{}:", base64_of(&der(0)))).unwrap();
        for name in ["client_cert", "client-cert-chain", "x-client-cert", "clientcert"] {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value.clone())]);
            assert_eq!(CertificateHeader::rfc9440().thumbprint(&headers), Ok(None), "{name}");
        }
        let headers = HeaderMap::from_iter([("Client-CERT".parse().unwrap(), value)]);
        assert!(matches!(CertificateHeader::rfc9440().thumbprint(&headers), Ok(Some(_))));
    }

    #[test]
    fn names_that_are_no_free_header_names_are_mistakes() {
        for name in ["", "a b", "x:y", "a\r\nb", "\u{e9}", "Authorization", "COOKIE", "host", "DPoP"] {
            let mistake = CertificateHeader::pem(name).name().unwrap_err();
            assert_eq!(mistake.setting(), "mutual_tls", "{name}");
            assert!(CertificateHeader::pem(name).thumbprint(&HeaderMap::new()).is_err(), "{name}");
        }
        assert_eq!(CertificateHeader::pem("X-ARR-ClientCert").name().unwrap(), "x-arr-clientcert");
    }

    fn headers_of_all_dialects() -> [CertificateHeader; 3] {
        [CertificateHeader::rfc9440(), CertificateHeader::xfcc(), CertificateHeader::pem("a")]
    }

    /// Pieces of good values, in any order.
    fn pieces() -> impl Strategy<Value = String> {
        let good = der(0);
        let pieces = vec![
            ":".to_owned(),
            ",".to_owned(),
            ";".to_owned(),
            "=".to_owned(),
            "\"".to_owned(),
            "\\".to_owned(),
            "%".to_owned(),
            "%2".to_owned(),
            "+".to_owned(),
            " ".to_owned(),
            "Hash=".to_owned(),
            "Cert=\"".to_owned(),
            "-----BEGIN CERTIFICATE-----".to_owned(),
            "-----END CERTIFICATE-----".to_owned(),
            hex(&sha256([good.as_slice()])),
            base64_of(&good),
            nginx(&pem(&good, "\n")),
            "\u{e9}".to_owned(),
        ];
        vec(prop::sample::select(pieces), 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_value_causes_a_panic(
            values in vec(vec(prop_oneof![Just(b'\t'), 32..=126_u8, 128..=255_u8], 0..200), 0..3),
        ) {
            let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
            for header in headers_of_all_dialects() {
                let found = read(&header, &values);
                prop_assert!(!matches!(found, Ok(Some(_))), "{found:?}");
            }
        }

        #[test]
        fn no_order_of_the_pieces_names_another_certificate(value in pieces()) {
            for header in headers_of_all_dialects() {
                if let Ok(Some(found)) = read(&header, &[value.as_bytes()]) {
                    prop_assert_eq!(found, sha256([der(0).as_slice()]), "{}", value);
                }
            }
        }
    }
}
