#include "actors/upload_parts.hpp"

#include "actors/guest_answers.hpp"

namespace skep::actors {
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
  auto there = read_parts(listing);
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
