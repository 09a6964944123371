#include "signing/key.hpp"

#include "core/file.hpp"

#include <errand/error.hpp>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <array>

namespace errand::signing {

namespace {

constexpr std::size_t kMostFileBytes = 64u << 10;

[[noreturn]] void refuse(ErrorKind kind, const std::string& path, std::string detail) {
  ERR_clear_error();
  throw Error({.kind = kind, .operation = "signing", .subject = path, .detail = std::move(detail)});
}

[[noreturn]] void failed(const char* what) {
  ERR_clear_error();
  throw Error({.kind = ErrorKind::bug, .operation = "signing", .detail = std::string("OpenSSL failed to ") + what});
}

struct FreeBio {
  void operator()(BIO* bio) const noexcept { BIO_free(bio); }
};
struct FreeContext {
  void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
};
using Bio = std::unique_ptr<BIO, FreeBio>;
using Context = std::unique_ptr<EVP_MD_CTX, FreeContext>;

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* bytes_of(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

std::string content(const std::string& path) {
  std::string wrong;
  auto text = core::read_file(path, kMostFileBytes, wrong);
  if (!text) refuse(ErrorKind::invalid, path, wrong);
  return std::move(*text);
}

Bio reader(const std::string& text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

// The first private key of the file; null: none. OpenSSL's own reader of PEM keys leaves lines of the file in memory
// that it has freed, and the pool's processes are forked with that; this one wipes what it used.
KeyHandle read_private(const std::string& text, const std::string& path) {
  const Bio bio = reader(text);
  char *name = nullptr, *header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  KeyHandle key;
  while (!key &&
         PEM_read_bio_ex(bio.get(), &name, &header, &data, &size, PEM_FLAG_SECURE | PEM_FLAG_EAY_COMPATIBLE) == 1) {
    const std::string_view kind = name;
    const bool encrypted = kind == "ENCRYPTED PRIVATE KEY" || std::string_view(header).find("ENCRYPTED") != kind.npos;
    if (kind.ends_with("PRIVATE KEY") && !encrypted) {
      const unsigned char* at = data;
      key.reset(d2i_AutoPrivateKey(nullptr, &at, size));
    }
    OPENSSL_secure_free(name);
    OPENSSL_secure_free(header);
    OPENSSL_secure_clear_free(data, static_cast<std::size_t>(size));
    if (encrypted)
      refuse(ErrorKind::invalid, path, "expected a private key without a passphrase, got an encrypted one");
  }
  ERR_clear_error();
  return key;
}

std::string_view algorithm_of(const std::string& path, const EVP_PKEY* key) {
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_ED25519:
      return kEd25519;
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
      if (const int bits = EVP_PKEY_get_bits(key); bits < kLeastRsaBits) {
        refuse(
            ErrorKind::invalid, path,
            "expected an RSA key of at least " + std::to_string(kLeastRsaBits) + " bits, got " + std::to_string(bits));
      }
      return kRsaPss;
    default:
      break;
  }
  const char* name = EVP_PKEY_get0_type_name(key);
  refuse(ErrorKind::invalid, path,
         std::string("expected an Ed25519 or RSA key, got ") + (name == nullptr ? "another" : name) +
             "; make one with: openssl genpkey -algorithm ed25519");
}

// What the two kinds need beyond the key itself.
void set_up(EVP_PKEY_CTX* context, std::string_view algorithm) {
  if (algorithm != kRsaPss) return;
  if (EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) != 1 ||
      EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) != 1) {
    failed("set up RSA-PSS");
  }
}

// A key may say of itself which digests and salts it is for (RSA-PSS, RFC 4055): that shows when it is used.
template <class Use>
void try_out(const std::string& path, const Use& use) {
  try {
    use();
  } catch (const Error&) {
    refuse(ErrorKind::invalid, path,
           "expected a key that allows SHA-256 with a salt of 32 bytes, got one that is restricted to something else");
  }
}

// Ed25519 hashes by itself.
const EVP_MD* digest_of(std::string_view algorithm) { return algorithm == kRsaPss ? EVP_sha256() : nullptr; }

}  // namespace

void FreeKey::operator()(evp_pkey_st* key) const noexcept { EVP_PKEY_free(key); }

PrivateKey PrivateKey::read(const std::string& path) {
  std::string text = content(path);
  KeyHandle key = read_private(text, path);
  OPENSSL_cleanse(text.data(), text.size());
  if (!key) refuse(ErrorKind::invalid, path, "expected a private key in PEM, got something else");
  if (const std::string loose = core::loose_mode(path); !loose.empty()) refuse(ErrorKind::denied, path, loose);
  const std::string_view algorithm = algorithm_of(path, key.get());
  PrivateKey made(std::move(key), algorithm);
  try_out(path, [&] { static_cast<void>(made.sign("")); });
  return made;
}

std::string PrivateKey::sign(std::string_view bytes) const {
  const Context context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* details = nullptr;
  if (!context || EVP_DigestSignInit(context.get(), &details, digest_of(algorithm_), nullptr, key_.get()) != 1) {
    failed("begin a signature");
  }
  set_up(details, algorithm_);
  std::size_t size = 0;
  if (EVP_DigestSign(context.get(), nullptr, &size, bytes_of(bytes), bytes.size()) != 1) failed("size a signature");
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), bytes_of(signature), &size, bytes_of(bytes), bytes.size()) != 1) failed("sign");
  signature.resize(size);
  return signature;
}

PublicKey PublicKey::read(const std::string& path) {
  const std::string text = content(path);
  KeyHandle key(PEM_read_bio_PUBKEY(reader(text).get(), nullptr, nullptr, nullptr));
  if (!key) {
    const bool secret = text.find("PRIVATE KEY") != std::string::npos;
    refuse(ErrorKind::invalid, path,
           std::string("expected a public key in PEM, got ") + (secret ? "a private one" : "something else") +
               "; make one with: openssl pkey -in KEY.pem -pubout");
  }
  const std::string_view algorithm = algorithm_of(path, key.get());
  PublicKey made(std::move(key), algorithm);
  try_out(path, [&] { static_cast<void>(made.verifies("", "")); });
  return made;
}

bool PublicKey::verifies(std::string_view bytes, std::string_view signature) const {
  const Context context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* details = nullptr;
  if (!context || EVP_DigestVerifyInit(context.get(), &details, digest_of(algorithm_), nullptr, key_.get()) != 1) {
    failed("begin to verify");
  }
  set_up(details, algorithm_);
  const bool right =
      EVP_DigestVerify(context.get(), bytes_of(signature), signature.size(), bytes_of(bytes), bytes.size()) == 1;
  ERR_clear_error();
  return right;
}

std::string sha256_hex(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) failed("hash");
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    text += kDigits[digest[i] >> 4];
    text += kDigits[digest[i] & 15];
  }
  return text;
}

std::string random_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  if (RAND_bytes(bytes_of(bytes), static_cast<int>(count)) != 1) failed("make random bytes");
  return bytes;
}

}  // namespace errand::signing
