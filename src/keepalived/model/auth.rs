//! How adverts are authenticated.

/// `authentication`.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// A password in the clear: 1 to 8 bytes.
    Pass(Vec<u8>),
    /// IPsec AH; the agent cannot speak it.
    Ah,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Auth::Pass(_) => "Pass(***)",
            Auth::Ah => "Ah",
        })
    }
}

/// `auth_hmac`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthHmac {
    /// Each id once.
    pub keys: Vec<HmacKey>,
    /// The id that signs.
    pub active_key: u8,
    /// Who must sign.
    pub mode: HmacMode,
    /// `time_window`, 1 to 300 s; `None`: `anti_replay monotonic`.
    pub window: Option<u16>,
}

/// `mode` of `auth_hmac`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HmacMode {
    /// Nothing counts that is not signed.
    Enforce,
    /// Signs; what is not signed counts too.
    Permissive,
    /// Signs nothing; what is not signed counts too.
    ReceiveOnly,
}

impl HmacMode {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            HmacMode::Enforce => "enforce",
            HmacMode::Permissive => "permissive",
            HmacMode::ReceiveOnly => "receive-only",
        }
    }
}

/// `key` of `auth_hmac`.
#[derive(Clone, PartialEq, Eq)]
pub struct HmacKey {
    /// 1 to 255.
    pub id: u8,
    /// `hex:…`, `file:…` or the secret itself.
    pub written: String,
    /// 32 to 64 bytes; none if it could not be had (an error).
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HmacKey({}, ***)", self.id)
    }
}
