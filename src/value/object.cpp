// Object: members in a vector, in insertion order; beyond kIndexFrom of them an open-addressing table of positions.
#include <errand/error.hpp>
#include <errand/value.hpp>

#include "value/key_hash.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace errand {

// Linear probing over slots that hold a position plus one (0: free) and half of the key's hash, so that most
// foreign keys are passed without a look at their text. At most half full. 32 bits number more members than memory
// holds (72 bytes each).
struct Object::Index {
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t place = 0;
  };

  explicit Index(std::size_t members) : slots(std::bit_ceil(members * 2 + 2)) {}

  static std::uint32_t hash_of(std::string_view key) noexcept {
    return static_cast<std::uint32_t>(value::key_hash(key));
  }

  std::size_t mask() const noexcept { return slots.size() - 1; }

  /// The slot that holds the key, or the free one where it belongs.
  std::size_t slot_of(std::string_view key, std::uint32_t hash, const std::vector<Member>& members) const noexcept {
    std::size_t at = hash & mask();
    while (slots[at].place != 0) {
      if (slots[at].hash == hash && members[slots[at].place - 1].first == key) break;
      at = (at + 1) & mask();
    }
    return at;
  }

  void grow() {
    std::vector<Slot> larger(slots.size() * 2);
    for (const Slot& slot : slots) {
      if (slot.place == 0) continue;
      std::size_t at = slot.hash & (larger.size() - 1);
      while (larger[at].place != 0) at = (at + 1) & (larger.size() - 1);
      larger[at] = slot;
    }
    slots = std::move(larger);
  }

  /// `members` holds the new one at its end already.
  void add(std::size_t slot, std::uint32_t hash, const std::vector<Member>& members) {
    slots[slot] = Slot{hash, static_cast<std::uint32_t>(members.size())};
    if (members.size() * 2 > slots.size()) grow();
  }

  /// Frees the slot and counts the positions behind its member down; later entries of its run move up.
  void remove(std::size_t slot) noexcept {
    const std::uint32_t place = slots[slot].place;
    for (std::size_t at = (slot + 1) & mask(); slots[at].place != 0; at = (at + 1) & mask()) {
      const std::size_t home = slots[at].hash & mask();
      if (((at - home) & mask()) < ((at - slot) & mask())) continue;
      slots[slot] = slots[at];
      slot = at;
    }
    slots[slot] = Slot{};
    for (Slot& other : slots) {
      if (other.place > place) other.place -= 1;
    }
  }

  std::vector<Slot> slots;
};

Object::Object() = default;

Object::Object(std::initializer_list<Member> members) : Object(std::vector<Member>(members)) {}

Object::Object(std::vector<Member> members) : members_(std::move(members)) {
  const bool small = members_.size() <= kIndexFrom;
  if (!small) index_ = std::make_unique<Index>(members_.size());
  std::size_t kept = 0;  // members up to here are unique and in place
  for (std::size_t i = 0; i < members_.size(); ++i) {
    Member& member = members_[i];
    std::size_t slot = 0;
    std::uint32_t hash = 0;
    std::size_t same = kept;
    if (small) {
      for (same = 0; same < kept && members_[same].first != member.first; ++same) {
      }
    } else {
      hash = Index::hash_of(member.first);
      slot = index_->slot_of(member.first, hash, members_);
      if (index_->slots[slot].place != 0) same = index_->slots[slot].place - 1;
    }
    if (same < kept) {
      members_[same].second = std::move(member.second);
      continue;
    }
    if (!small) index_->slots[slot] = Index::Slot{hash, static_cast<std::uint32_t>(kept + 1)};
    if (i != kept) members_[kept] = std::move(member);
    ++kept;
  }
  members_.erase(members_.begin() + static_cast<std::ptrdiff_t>(kept), members_.end());
}

Object::Object(const Object& other)
    : members_(other.members_), index_(other.index_ ? std::make_unique<Index>(*other.index_) : nullptr) {}

Object::Object(Object&& other) noexcept : members_(std::move(other.members_)), index_(std::move(other.index_)) {
  other.members_.clear();
}

Object& Object::operator=(const Object& other) {
  if (this != &other) *this = Object(other);
  return *this;
}

Object& Object::operator=(Object&& other) noexcept {
  // Taken out first: `other` may live inside this object.
  std::vector<Member> members = std::move(other.members_);
  std::unique_ptr<Index> index = std::move(other.index_);
  other.members_.clear();
  members_ = std::move(members);
  index_ = std::move(index);
  return *this;
}

Object::~Object() = default;

std::size_t Object::size() const noexcept { return members_.size(); }
bool Object::empty() const noexcept { return members_.empty(); }
std::vector<Object::Member>::const_iterator Object::begin() const noexcept { return members_.begin(); }
std::vector<Object::Member>::const_iterator Object::end() const noexcept { return members_.end(); }

const Value* Object::find(std::string_view key) const noexcept {
  if (index_) {
    const std::uint32_t place = index_->slots[index_->slot_of(key, Index::hash_of(key), members_)].place;
    return place == 0 ? nullptr : &members_[place - 1].second;
  }
  for (const Member& member : members_) {
    if (member.first == key) return &member.second;
  }
  return nullptr;
}

Value* Object::find(std::string_view key) noexcept { return const_cast<Value*>(std::as_const(*this).find(key)); }

const Value& Object::at(std::string_view key) const {
  if (const Value* found = find(key)) return *found;
  throw Error({.kind = ErrorKind::invalid,
               .operation = "value",
               .subject = std::string(key),
               .detail = "expected this key in the object, it is missing"});
}

Value& Object::append(std::string key) {
  if (!index_) {
    members_.emplace_back(std::move(key), Value());
    if (members_.size() > kIndexFrom) make_index();
    return members_.back().second;
  }
  const std::uint32_t hash = Index::hash_of(key);
  const std::size_t slot = index_->slot_of(key, hash, members_);
  members_.emplace_back(std::move(key), Value());
  index_->add(slot, hash, members_);
  return members_.back().second;
}

void Object::make_index() {
  auto index = std::make_unique<Index>(members_.size());
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const std::uint32_t hash = Index::hash_of(members_[i].first);
    index->slots[index->slot_of(members_[i].first, hash, members_)] = {hash, static_cast<std::uint32_t>(i + 1)};
  }
  index_ = std::move(index);
}

void Object::set(std::string key, Value value) {
  if (Value* found = find(key)) {
    *found = std::move(value);
  } else {
    append(std::move(key)) = std::move(value);
  }
}

Value& Object::operator[](std::string_view key) {
  if (Value* found = find(key)) return *found;
  return append(std::string(key));
}

bool Object::erase(std::string_view key) {
  if (index_) {
    const std::size_t slot = index_->slot_of(key, Index::hash_of(key), members_);
    if (index_->slots[slot].place == 0) return false;
    const std::size_t at = index_->slots[slot].place - 1;
    index_->remove(slot);
    members_.erase(members_.begin() + static_cast<std::ptrdiff_t>(at));
    return true;
  }
  const auto at = std::find_if(members_.begin(), members_.end(), [&](const Member& one) { return one.first == key; });
  if (at == members_.end()) return false;
  members_.erase(at);
  return true;
}

bool operator==(const Object& a, const Object& b) {
  if (a.size() != b.size()) return false;
  return std::all_of(a.begin(), a.end(), [&](const Object::Member& member) {
    const Value* other = b.find(member.first);
    return other != nullptr && *other == member.second;
  });
}

}  // namespace errand
