// The sending side in C++: typed calls, checked by the compiler, against the same file as the worker.
#include "tasks.hpp"

#include <errand/client.hpp>

#include <chrono>
#include <iostream>
#include <string>

using namespace std::chrono_literals;

int main(int argc, char** argv) {
  errand::Client client({.broker_url = argc > 1 ? argv[1] : "sqlite:///errand.db"});

  auto sum = client.send(demo::add(40, 2));
  std::cout << "demo.add(40, 2) = " << sum.get(30s) << "\n";

  // demo::add("forty", 2) does not compile; the same mistake by name is refused before anything is sent.
  auto quote = client.send(demo::fetch_quote("ACME"));
  std::cout << "demo.fetch_quote(ACME) = " << quote.get(30s) << "\n";

  auto payment = client.send(demo::charge_card("4242", 0));
  try {
    std::cout << payment.get(30s) << "\n";
  } catch (const std::exception& error) {
    std::cout << "demo.charge_card(4242, 0) failed as it should: " << error.what() << "\n";
  }
  return 0;
}
