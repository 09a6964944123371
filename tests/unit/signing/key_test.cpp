// Keys as people make them, and those that are refused with a word about what to do.
#include "signing/key.hpp"

#include "unit/signing/keys.hpp"

#include <errand/error.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

using namespace errand;
using signing::PrivateKey;
using signing::PublicKey;

namespace {

std::string refusal(const std::function<void()>& read) {
  try {
    read();
  } catch (const Error& error) {
    CHECK(error.operation() == "signing");
    return error.detail();
  }
  return "nothing was refused";
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("what one key has signed is right for its public half and for no other, and for these bytes alone") {
  const testing::Keys keys;
  struct Row {
    const char* how;
    std::string_view algorithm;
  };
  for (const Row& row : {Row{"-algorithm ed25519", signing::kEd25519},
                         Row{"-algorithm rsa -pkeyopt rsa_keygen_bits:2048", signing::kRsaPss},
                         Row{"-algorithm rsa-pss -pkeyopt rsa_keygen_bits:2048", signing::kRsaPss}}) {
    CAPTURE(row.how);
    keys.make("ours", row.how);
    keys.make("other", row.how);
    const PrivateKey ours = PrivateKey::read(keys.pem("ours"));
    const PublicKey known = PublicKey::read(keys.pub("ours"));
    CHECK(ours.algorithm() == row.algorithm);
    CHECK(known.algorithm() == row.algorithm);
    const std::string signature = ours.sign("some bytes");
    CHECK(known.verifies("some bytes", signature));
    CHECK_FALSE(known.verifies("some bytez", signature));
    CHECK_FALSE(known.verifies("some bytes", signature.substr(1)));
    CHECK_FALSE(known.verifies("some bytes", ""));
    CHECK_FALSE(PublicKey::read(keys.pub("other")).verifies("some bytes", signature));
  }
}

TEST_CASE("a key that cannot be used is refused by what is wrong with it") {
  const testing::Keys keys;
  keys.make("good");
  keys.make("curve", "-algorithm ec -pkeyopt ec_paramgen_curve:P-256");
  keys.make("short", "-algorithm rsa -pkeyopt rsa_keygen_bits:1024");
  testing::Keys::openssl("pkey -in " + keys.pem("good") + " -aes256 -passout pass:secret -out " + keys.pem("locked"));
  const auto secret = [&](const std::string& name) { return refusal([&] { PrivateKey::read(keys.pem(name)); }); };
  const auto open = [&](const std::string& path) { return refusal([&] { PublicKey::read(path); }); };
  CHECK(contains(secret("missing"), "cannot be read: No such file"));
  CHECK(contains(secret("curve"), "expected an Ed25519 or RSA key, got EC"));
  CHECK(contains(secret("short"), "at least 2048 bits, got 1024"));
  CHECK(contains(secret("locked"), "without a passphrase"));
  CHECK(contains(refusal([&] { PrivateKey::read(keys.pub("good")); }), "expected a private key in PEM"));
  CHECK(contains(open(keys.pem("good")), "expected a public key in PEM, got a private one"));
  CHECK(contains(open(keys.pub("short")), "at least 2048 bits, got 1024"));
  // Found at the start, not by the first message that names the key.
  keys.make("other", "-algorithm rsa-pss -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_pss_keygen_md:sha512");
  CHECK(contains(secret("other"), "expected a key that allows SHA-256"));
  CHECK(contains(open(keys.pub("other")), "expected a key that allows SHA-256"));
  std::filesystem::permissions(keys.pem("good"), std::filesystem::perms::others_read,
                               std::filesystem::perm_options::add);
  CHECK(contains(secret("good"), "expected 0640 or tighter"));
}

// The pool's processes are forked after the key was tried and before it is used: what is left of it would be theirs.
TEST_CASE("nothing of a key's file stays in memory when it is forgotten") {
  const testing::Keys keys;
  keys.make("good");
  // Written in another alphabet, so that it is not this test that is found.
  testing::Keys::openssl("version >/dev/null; sed -n 2p " + keys.pem("good") +
                         " | cut -c 24-60 | tr A-Za-z N-ZA-Mn-za-m >" + keys.folder.file("turned"));
  std::string turned;
  std::ifstream(keys.folder.file("turned")) >> turned;
  REQUIRE(turned.size() == 37);
  const auto turn = [](char c) {
    const auto by = [&](char from) { return static_cast<char>(from + (c - from + 13) % 26); };
    return c >= 'a' && c <= 'z' ? by('a') : c >= 'A' && c <= 'Z' ? by('A') : c;
  };
  std::ifstream maps("/proc/self/maps");
  std::string line;
  while (std::getline(maps, line) && line.find("[heap]") == std::string::npos) {
  }
  if (!maps) return;  // a sanitizer has memory of its own
  const std::size_t from = std::stoull(line, nullptr, 16);
  const std::size_t to = std::stoull(line.substr(line.find('-') + 1), nullptr, 16);
  std::vector<char> bytes(to - from);
  const int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
  static_cast<void>(PrivateKey::read(keys.pem("good")));  // nothing after this takes memory and writes over it
  const ssize_t size = pread(memory, bytes.data(), bytes.size(), static_cast<off_t>(from));
  close(memory);
  REQUIRE(size == static_cast<ssize_t>(bytes.size()));
  const auto found = std::search(bytes.begin(), bytes.end(), turned.begin(), turned.end(),
                                 [&](char here, char wanted) { return here == turn(wanted); });
  CHECK((found == bytes.end()));
}
