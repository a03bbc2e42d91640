//! Short-lived tokens by what they were made for: used until shortly before their end, and made by one caller at a time for each key.

use std::{
    collections::HashMap,
    io::Read as _,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use plumb_api::sealed::Sealed;
use sha2::{Digest as _, Sha256};

/// The part of its lifetime that a token is used for, in percent.
const USED_PERCENT: i64 = 80;

/// What a token was made for: a digest of everything that led to it.
pub type TokenKey = [u8; 32];

/// Bytes of a file with a token.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The key of all that leads to a token.
pub fn token_key(parts: &[&str]) -> TokenKey {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// A file with a token, which is replaced now and then: it is read each time.
pub async fn read_token_file(path: PathBuf) -> std::io::Result<Sealed> {
    let read = move || {
        let mut text = String::new();
        std::fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
        Ok(Sealed::from(text))
    };
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|_| Err(std::io::ErrorKind::Interrupted.into()))
}

/// How long a caller waits for a token that another one makes. After that it makes one itself: no caller, whatever its own limit, holds
/// up the others for longer.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Held while a token is made for a key.
type ExchangeLock = Arc<tokio::sync::Mutex<()>>;

/// How many tokens are kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLimits {
    /// Tokens at most: beyond it those that were made first go. With none, each use makes one.
    pub max: usize,
    /// A token is used no longer than this, whatever its own end.
    pub age_max: SignedDuration,
}

impl TokenLimits {
    /// Those of Flux.
    pub const DEFAULT: Self = Self { max: 100, age_max: SignedDuration::from_hours(1) };
}

/// Tokens. Clones share them.
#[derive(Clone)]
pub struct TokenCache {
    limits: TokenLimits,
    evictions: Arc<AtomicU64>,
    tokens: Arc<Mutex<HashMap<TokenKey, CachedToken>>>,
    /// One exchange at a time for a key: the others wait for its token.
    exchanges: Arc<Mutex<HashMap<TokenKey, ExchangeLock>>>,
}

struct CachedToken {
    token: Sealed,
    made: Timestamp,
    until: Timestamp,
}

impl TokenCache {
    /// Without tokens yet.
    pub fn new(limits: TokenLimits) -> Self {
        Self { limits, evictions: Arc::default(), tokens: Arc::default(), exchanges: Arc::default() }
    }

    /// How many tokens are kept.
    pub fn len(&self) -> usize {
        self.tokens().len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.tokens().is_empty()
    }

    /// How many tokens had to go before their end.
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// The token for a key at `now`: one that was made before, while it is far from its end, or the one that `make` returns with its
    /// end. Where another caller makes it, this one waits for it, 30 s at most.
    pub async fn get_or_make<E>(
        &self,
        key: TokenKey,
        now: Timestamp,
        make: impl Future<Output = Result<(Sealed, Timestamp), E>>,
    ) -> Result<Sealed, E> {
        if self.limits.max == 0 {
            return make.await.map(|(token, _)| token);
        }
        if let Some(token) = self.known(&key, now) {
            return Ok(token);
        }
        let exchange = self.exchange_of(key);
        let _alone = tokio::time::timeout(WAIT_MAX, exchange.lock()).await;
        if let Some(token) = self.known(&key, now) {
            return Ok(token);
        }
        let (token, expires_at) = make.await?;
        self.insert(key, token.clone(), now, expires_at);
        Ok(token)
    }

    /// Drops a token: it is not accepted any more.
    pub fn forget(&self, key: &TokenKey) {
        self.tokens().remove(key);
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<TokenKey, CachedToken>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exchange_of(&self, key: TokenKey) -> ExchangeLock {
        let mut exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        exchanges.retain(|_, exchange| Arc::strong_count(exchange) > 1);
        Arc::clone(exchanges.entry(key).or_default())
    }

    fn known(&self, key: &TokenKey, now: Timestamp) -> Option<Sealed> {
        let tokens = self.tokens();
        let kept = tokens.get(key)?;
        (now >= kept.made && now < kept.until).then(|| kept.token.clone())
    }

    fn insert(&self, key: TokenKey, token: Sealed, now: Timestamp, expires_at: Timestamp) {
        let seconds = expires_at.as_second().saturating_sub(now.as_second()).max(0);
        let used = SignedDuration::from_secs(seconds.saturating_mul(USED_PERCENT) / 100);
        let until = now.checked_add(used.min(self.limits.age_max)).unwrap_or(now);
        let mut tokens = self.tokens();
        tokens.retain(|_, kept| now < kept.until);
        if tokens.len() >= self.limits.max
            && let Some(oldest) = tokens.iter().min_by_key(|(_, kept)| kept.made).map(|(key, _)| *key)
        {
            tokens.remove(&oldest);
            self.evictions.fetch_add(1, Ordering::Relaxed);
        }
        tokens.insert(key, CachedToken { token, made: now, until });
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    async fn made(cache: &TokenCache, key: u16, now: &str) -> bool {
        let mut is_made = false;
        let make = async {
            is_made = true;
            Ok::<_, ()>((Sealed::from("token"), at("2026-01-01T01:00:00Z")))
        };
        let mut whole = [0; 32];
        whole[..2].copy_from_slice(&key.to_be_bytes());
        cache.get_or_make(whole, at(now), make).await.unwrap();
        is_made
    }

    #[tokio::test]
    async fn a_token_is_used_for_most_of_its_time_and_by_its_key_only() {
        let cache = TokenCache::new(TokenLimits::DEFAULT);
        for (key, now, expect) in [
            (1, "2026-01-01T00:00:00Z", true),
            (1, "2026-01-01T00:47:00Z", false),
            (2, "2026-01-01T00:47:00Z", true),
            (1, "2026-01-01T00:48:30Z", true),
            (1, "2025-12-31T00:00:00Z", true),
        ] {
            assert_eq!(made(&cache, key, now).await, expect, "{key} {now}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_never_ends_making_a_token_does_not_hold_up_the_others() {
        let cache = TokenCache::new(TokenLimits::DEFAULT);
        let mut key = [0; 32];
        key[..2].copy_from_slice(&1_u16.to_be_bytes());
        let never = std::future::pending::<Result<_, ()>>();
        let silent = std::pin::pin!(cache.get_or_make(key, at("2026-01-01T00:00:00Z"), never));
        assert!(silent.now_or_never().is_none());
        let begun = tokio::time::Instant::now();
        let other = tokio::time::timeout(Duration::from_hours(1), made(&cache, 1, "2026-01-01T00:00:00Z"));
        assert_eq!((other.await, begun.elapsed()), (Ok(true), WAIT_MAX));
        assert!(!made(&cache, 1, "2026-01-01T00:00:01Z").await);
    }

    #[tokio::test]
    async fn the_oldest_goes_beyond_the_limit_and_a_failure_is_not_kept() {
        let cache = TokenCache::new(TokenLimits::DEFAULT);
        assert!(made(&cache, 0, "2026-01-01T00:00:00Z").await);
        for key in 1..=TokenLimits::DEFAULT.max {
            assert!(made(&cache, u16::try_from(key).unwrap(), "2026-01-01T00:00:01Z").await);
        }
        assert_eq!((cache.len(), cache.evictions()), (TokenLimits::DEFAULT.max, 1));
        assert!(made(&cache, 0, "2026-01-01T00:00:01Z").await);
        let failed = async { Err::<(Sealed, Timestamp), _>("no") };
        assert_eq!(cache.get_or_make([9; 32], at("2026-01-01T00:00:00Z"), failed).await.err(), Some("no"));
    }

    #[tokio::test]
    async fn the_limits_shorten_the_use_of_a_token_and_can_end_it() {
        let short =
            TokenCache::new(TokenLimits { age_max: SignedDuration::from_mins(10), ..TokenLimits::DEFAULT });
        for (now, expect) in
            [("2026-01-01T00:00:00Z", true), ("2026-01-01T00:09:00Z", false), ("2026-01-01T00:10:00Z", true)]
        {
            assert_eq!(made(&short, 1, now).await, expect, "{now}");
        }
        let none = TokenCache::new(TokenLimits { max: 0, ..TokenLimits::DEFAULT });
        for _ in 0..2 {
            assert!(made(&none, 1, "2026-01-01T00:00:00Z").await);
        }
        assert!(none.is_empty());
    }
}
