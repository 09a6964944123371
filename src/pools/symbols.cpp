#include "pools/symbols.hpp"

#include "core/fd.hpp"
#include "core/text.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <unistd.h>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

namespace errand::pools {

namespace {

constexpr std::size_t kMostSections = 1'024;
constexpr std::size_t kMostSymbols = 4'000'000;
constexpr std::size_t kMostMangled = 4'096;
constexpr std::size_t kMostName = 240;

struct Module {
  std::string name;
  std::uint64_t base = 0;
  bool program = false;
};

struct Search {
  std::uint64_t address;
  bool first = true;
  bool found = false;
  Module module;
};

int look(dl_phdr_info* info, std::size_t, void* data) {
  auto& search = *static_cast<Search*>(data);
  const bool program = std::exchange(search.first, false);  // the program itself comes first
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& part = info->dlpi_phdr[i];
    if (part.p_type != PT_LOAD || (part.p_flags & PF_X) == 0) continue;
    const std::uint64_t begin = info->dlpi_addr + part.p_vaddr;
    if (search.address < begin || search.address >= begin + part.p_memsz) continue;
    search.module = {info->dlpi_name == nullptr ? "" : info->dlpi_name, info->dlpi_addr, program};
    search.found = true;
    return 1;
  }
  return 0;
}

std::string readable(const char* mangled) {
  int failed = 0;
  char* name = abi::__cxa_demangle(mangled, nullptr, nullptr, &failed);
  std::string out = core::shorten(name != nullptr && failed == 0 ? name : mangled, kMostName);
  std::free(name);
  return out;
}

template <class T>
bool read_at(int fd, std::uint64_t at, T* into, std::size_t count) {
  const std::size_t size = count * sizeof(T);
  return pread(fd, into, size, static_cast<off_t>(at)) == static_cast<ssize_t>(size);
}

struct Wanted {
  std::uint64_t offset;
  std::uint64_t begin = 0;  // of the best symbol so far
  std::uint32_t name = 0;
  bool found = false;
};

// The table of all symbols in the program's own file, which dladdr() does not read: it knows exported ones only. The
// file is the one that runs, whatever has been installed under its name meanwhile. It is read, not mapped: a file that
// is cut short while it is mapped would be a signal here.
class ProgramFile {
 public:
  ProgramFile() : file_(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)) {}

  void find(std::vector<Wanted>& wanted) {
    ElfW(Ehdr) head{};
    if (!file_ || !read_at(file_.get(), 0, &head, 1) || std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) return;
    if (head.e_shentsize != sizeof(ElfW(Shdr)) || head.e_shnum == 0 || head.e_shnum > kMostSections) return;
    std::vector<ElfW(Shdr)> sections(head.e_shnum);
    if (!read_at(file_.get(), head.e_shoff, sections.data(), sections.size())) return;
    for (const auto& section : sections) {
      if (section.sh_type != SHT_SYMTAB || section.sh_link >= sections.size()) continue;
      names_at_ = sections[section.sh_link].sh_offset;
      names_size_ = sections[section.sh_link].sh_size;
      search(section.sh_offset, std::min<std::size_t>(section.sh_size / sizeof(ElfW(Sym)), kMostSymbols), wanted);
    }
  }

  std::string name(std::uint32_t at) const {
    if (at >= names_size_) return "";
    std::string text(std::min<std::uint64_t>(kMostMangled, names_size_ - at), '\0');
    const ssize_t got = pread(file_.get(), text.data(), text.size(), static_cast<off_t>(names_at_ + at));
    if (got <= 0) return "";
    text.resize(static_cast<std::size_t>(got));
    return text.substr(0, text.find('\0'));
  }

 private:
  void search(std::uint64_t at, std::size_t count, std::vector<Wanted>& wanted) const {
    std::vector<ElfW(Sym)> some(1'024);
    for (std::size_t done = 0; done < count; done += some.size()) {
      const std::size_t now = std::min(some.size(), count - done);
      if (!read_at(file_.get(), at + done * sizeof(ElfW(Sym)), some.data(), now)) return;
      for (std::size_t i = 0; i < now; ++i) {
        const auto& symbol = some[i];
        if ((symbol.st_info & 0xf) != STT_FUNC || symbol.st_shndx == SHN_UNDEF) continue;
        for (Wanted& one : wanted) {
          if (one.offset < symbol.st_value || one.offset >= symbol.st_value + symbol.st_size) continue;
          if (one.found && symbol.st_value <= one.begin) continue;
          one.found = true;
          one.begin = symbol.st_value;
          one.name = symbol.st_name;
        }
      }
    }
  }

  core::UniqueFd file_;
  std::uint64_t names_at_ = 0, names_size_ = 0;
};

// NOLINTNEXTLINE(performance-no-int-to-ptr): an address that is looked up and never followed
const void* pointer_to(std::uint64_t address) { return reinterpret_cast<const void*>(address); }

}  // namespace

std::vector<Symbol> symbols_of(std::span<const std::uint64_t> addresses) {
  std::vector<Symbol> out(addresses.size());
  std::vector<Wanted> wanted;
  std::vector<std::size_t> whose;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    Search search{addresses[i]};
    dl_iterate_phdr(look, &search);
    if (!search.found) continue;
    const std::string& path = search.module.name;
    out[i].module =
        search.module.program ? std::string(program_invocation_short_name) : path.substr(path.rfind('/') + 1);
    out[i].offset = addresses[i] - search.module.base;
    if (search.module.program) {
      wanted.push_back({out[i].offset});
      whose.push_back(i);
      continue;
    }
    Dl_info about{};
    if (dladdr(pointer_to(addresses[i]), &about) != 0 && about.dli_sname != nullptr) {
      out[i].function = readable(about.dli_sname);
    }
  }
  if (wanted.empty()) return out;
  ProgramFile file;
  file.find(wanted);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i].found) {
      out[whose[i]].function = readable(file.name(wanted[i].name).c_str());
    } else if (Dl_info about{}; dladdr(pointer_to(addresses[whose[i]]), &about) != 0 && about.dli_sname != nullptr) {
      out[whose[i]].function = readable(about.dli_sname);  // a stripped program still exports some
    }
  }
  return out;
}

std::string to_text(const Symbol& symbol) {
  if (symbol.module.empty()) return "unknown code";
  char offset[32];
  std::snprintf(offset, sizeof offset, "+0x%llx", static_cast<unsigned long long>(symbol.offset));
  const std::string place = symbol.module + offset;
  return symbol.function.empty() ? place : symbol.function + " in " + place;
}

}  // namespace errand::pools
