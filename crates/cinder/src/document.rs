//! Cinder's two documents: `_metadata` and `_sha256file`.
