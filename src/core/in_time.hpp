#pragma once
// in_time: what of a commit may happen when some of its settlements came too late.

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace errand::core {

/// Those of `all` that belong to none of the settlements `late`, which are in ascending order. `of` says to which
/// settlement each belongs; one beyond its end belongs to none.
template <class T>
std::vector<T> in_time(std::span<const T> all, std::span<const std::uint32_t> of, std::span<const std::uint32_t> late) {
  std::vector<T> kept;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i >= of.size() || !std::binary_search(late.begin(), late.end(), of[i])) kept.push_back(all[i]);
  }
  return kept;
}

}  // namespace errand::core
