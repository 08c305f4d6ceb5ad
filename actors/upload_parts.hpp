// Which files an upload sends, in which parts, and which of them are inside already.
#pragma once

#include "actors/domain.hpp"
#include "sandbox/file_slice.hpp"

namespace skep::actors {

/// One file inside: a whole one, or a part of one.
struct upload_piece {
  std::string name; ///< In the upload's folder inside.
  sandbox::file_slice from;
  std::uint64_t bytes = 0;
  std::string sha256; ///< Hex.
};

/// All that is sent of a bundle, in order. A file of one part keeps its own name.
class upload_pieces {
public:
  explicit upload_pieces(const upload_bundle& bundle);

  const std::vector<upload_piece>& all() const { return all_; }
  std::uint64_t bytes() const { return bytes_; }
  /// Some file has several parts: what has arrived is worth asking for.
  bool resumable() const { return several_; }
  /// Those that the answer of `skep-guest parts` does not show whole and unchanged.
  std::vector<std::size_t> missing(const json& listing) const;
  /// "--archive FILE", for each part; and the same for the pack of HEAD (empty: there is none).
  std::vector<std::string> archive_words(const std::string& folder) const;
  std::vector<std::string> head_pack_words(const std::string& folder) const;

private:
  void add(const std::filesystem::path& file, const std::vector<transfer::file_part>& parts,
           const std::string& name, std::vector<std::size_t>& list);
  std::vector<std::string> words(const char* option, const std::vector<std::size_t>& list,
                                 const std::string& folder) const;

  std::vector<upload_piece> all_;
  std::vector<std::size_t> archive_, head_pack_; ///< Indices in all_.
  std::uint64_t bytes_ = 0;
  bool several_ = false;
};

} // namespace skep::actors
