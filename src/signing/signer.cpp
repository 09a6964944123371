#include "signing/signer.hpp"

#include "core/base64.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/header_fields.hpp"
#include "signing/header.hpp"
#include "signing/rules.hpp"

#include <errand/error.hpp>

namespace errand::signing {

Signer::Signer(const SigningOptions& options)
    : key_id_(options.key_id), key_file_(options.key_file), allowed_(options.allowed) {
  if (!is_key_id(key_id_)) {
    throw Error(
        {.kind = ErrorKind::invalid,
         .operation = "signing",
         .subject = "key_id",
         .detail = "expected 1 to 64 letters, digits, '.', '_' and '-', got '" + protocol::printable(key_id_) + "'"});
  }
  static_cast<void>(PrivateKey::read(key_file_));
}

const PrivateKey& Signer::key() {
  if (!key_) key_ = PrivateKey::read(key_file_);
  return *key_;
}

bool Signer::may_sign(const Envelope& envelope) const {
  if (!envelope.asked_by) return true;
  if (envelope.asked_by->empty()) return false;
  const TaskSigners* rule = rule_for(allowed_, protocol::text_or_empty(envelope.message.headers, "task"));
  return rule == nullptr || names_key(*rule, *envelope.asked_by);
}

std::vector<Envelope> Signer::sign(std::span<const Envelope> envelopes, TimePoint now) {
  std::vector<Envelope> out(envelopes.begin(), envelopes.end());
  for (Envelope& envelope : out) {
    if (!may_sign(envelope)) {
      envelope.message.headers.erase(kSignatureHeader);
      continue;
    }
    SignatureHeader header{.key_id = key_id_,
                           .algorithm = std::string(key().algorithm()),
                           .issued = now,
                           .nonce = core::base64_encode(random_bytes(kNonceBytes)),
                           .signature = {}};
    header.signature = key().sign(signed_bytes(envelope.message, envelope.route, header));
    envelope.message.headers.set(std::string(kSignatureHeader), Value(format_header(header)));
  }
  return out;
}

}  // namespace errand::signing
