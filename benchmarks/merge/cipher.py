"""The cipher of TLS alone: how long encrypting and decrypting take without connections, records and checks."""

from __future__ import annotations

import _ssl
import ctypes
import os

RECORD_BYTES = 2**14
"""Of values, in a full record of TLS."""
NAME = "AES-256-GCM"
"""What two peers negotiate (TLS_AES_256_GCM_SHA384): the first choice of OpenSSL."""
_KEY_BYTES, _NONCE_BYTES = 32, 12


class _Opaque(ctypes.Structure):
    """What only the library looks into."""


class Cipher:
    """AES-256-GCM of the OpenSSL library that Python's ``ssl`` uses, as TLS calls it: one record at a time, in place.

    The functions are called directly, since packages such as ``cryptography`` have another build of OpenSSL. What TLS
    does once per record, a nonce and an authentication tag, is left out.
    """

    def __init__(self) -> None:
        """Take a random key.

        Raises:
            RuntimeError: the library's functions cannot be called here.
        """
        library = ctypes.PyDLL(_ssl.__file__)
        try:
            new, cipher = library.EVP_CIPHER_CTX_new, library.EVP_aes_256_gcm
            self._begins = (library.EVP_EncryptInit_ex, library.EVP_DecryptInit_ex)
            self._updates = (library.EVP_EncryptUpdate, library.EVP_DecryptUpdate)
        except AttributeError:
            raise RuntimeError("the OpenSSL of this Python does not export its ciphers") from None
        new.restype = cipher.restype = ctypes.POINTER(_Opaque)
        self.record = (ctypes.c_char * RECORD_BYTES)()
        """What is encrypted and decrypted."""
        self._cipher = cipher()
        self._contexts = [new() for _ in self._begins]
        self._key = os.urandom(_KEY_BYTES)

    def run(self, size: int) -> None:
        """Encrypt ``size`` bytes and decrypt as many: what a peer sends, and what it receives.

        Raises:
            RuntimeError: the library refused.
        """
        record, count, nonce = self.record, ctypes.c_int(RECORD_BYTES), os.urandom(_NONCE_BYTES)
        written = ctypes.byref(ctypes.c_int())
        for context, begin, update in zip(self._contexts, self._begins, self._updates, strict=True):
            if begin(context, self._cipher, None, self._key, nonce) != 1:
                raise RuntimeError(f"OpenSSL did not set up {NAME}")
            for _ in range(-(-size // RECORD_BYTES)):
                if update(context, record, written, record, count) != 1:
                    raise RuntimeError(f"OpenSSL stopped to use {NAME}")
