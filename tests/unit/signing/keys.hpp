#pragma once
// Keys for the tests, made by the openssl program as docs/signing.md says.

#include "support/folder.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace errand::testing {

/// A folder with pairs of keys: NAME.pem and NAME.pub.
struct Keys {
  std::string pem(const std::string& name) const { return folder.file(name + ".pem"); }
  std::string pub(const std::string& name) const { return folder.file(name + ".pub"); }

  /// `how` are arguments of `openssl genpkey`.
  void make(const std::string& name, const std::string& how = "-algorithm ed25519") const {
    openssl("genpkey " + how + " -out " + pem(name));
    openssl("pkey -in " + pem(name) + " -pubout -out " + pub(name));
  }
  static void openssl(const std::string& arguments) {
    const std::string command = "openssl " + arguments + " 2>/dev/null";
    // NOLINTNEXTLINE(cert-env33-c,concurrency-mt-unsafe): no word of it comes from outside
    if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
  }
  Folder folder;
};

}  // namespace errand::testing
