#include "actors/upload_parts.hpp"

#include <map>

namespace skep::actors {
namespace {

struct part_shown {
  std::string name, sha256;
  std::uint64_t size_bytes = 0;
};

// Written inside: any shape may come.
bool read_part(const json& x, part_shown& out) {
  if (!x.is_object()) return false;
  auto name = x.find("name"), size = x.find("size_bytes"), hash = x.find("sha256");
  if (name == x.end() || size == x.end() || hash == x.end()) return false;
  if (!name->is_string() || !size->is_number_unsigned() || !hash->is_string()) return false;
  out = {name->get<std::string>(), hash->get<std::string>(), size->get<std::uint64_t>()};
  return true;
}

} // namespace

upload_pieces::upload_pieces(const upload_bundle& bundle) {
  add(bundle.archive, bundle.archive_parts, "worktree.tar", archive_);
  if (!bundle.head_pack.empty())
    add(bundle.head_pack, bundle.head_pack_parts, "head.pack", head_pack_);
}

void upload_pieces::add(const std::filesystem::path& file,
                        const std::vector<transfer::file_part>& parts, const std::string& name,
                        std::vector<std::size_t>& list) {
  several_ = several_ || parts.size() > 1;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto& part = parts[i];
    list.push_back(all_.size());
    all_.push_back({parts.size() == 1 ? name : transfer::part_name(name, i),
                    {file, part.offset, part.bytes},
                    part.bytes,
                    part.sha256});
    bytes_ += part.bytes;
  }
}

std::vector<std::size_t> upload_pieces::missing(const json& listing) const {
  std::map<std::string, std::pair<std::uint64_t, std::string>> there;
  if (auto list = listing.find("parts"); list != listing.end() && list->is_array())
    for (const auto& x : *list) {
      part_shown part;
      if (read_part(x, part)) there[part.name] = {part.size_bytes, part.sha256};
    }
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < all_.size(); ++i) {
    auto found = there.find(all_[i].name);
    if (found == there.end() || found->second != std::pair{all_[i].bytes, all_[i].sha256})
      out.push_back(i);
  }
  return out;
}

std::vector<std::string> upload_pieces::words(const char* option,
                                              const std::vector<std::size_t>& list,
                                              const std::string& folder) const {
  std::vector<std::string> out;
  for (auto i : list)
    out.insert(out.end(), {option, folder + "/" + all_[i].name});
  return out;
}

std::vector<std::string> upload_pieces::archive_words(const std::string& folder) const {
  return words("--archive", archive_, folder);
}

std::vector<std::string> upload_pieces::head_pack_words(const std::string& folder) const {
  return words("--head-pack", head_pack_, folder);
}

} // namespace skep::actors
