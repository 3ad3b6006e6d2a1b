"""What somebody without a certificate can do to peers that train."""
