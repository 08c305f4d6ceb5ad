// Ids are distinct types, so that a pane id cannot be passed where a sandbox id is meant.
// Text form: sigil + 16 characters of [a-z0-9], drawn from the system's random source (82 bits).
#pragma once

#include <compare>
#include <functional>
#include <string>
#include <string_view>

namespace skep {

/// Fills `size` characters of [a-z0-9] from getrandom(2); never fails. Thread-safe.
std::string random_token(std::size_t size);

/// True when `text` is `sigil` followed by 1 to 40 characters of [a-z0-9].
bool valid_id(std::string_view text, std::string_view sigil);

template <class Tag>
struct basic_id {
  std::string value; ///< Whole text with sigil; empty means "none".

  static constexpr std::string_view sigil = Tag::sigil;
  /// A new id that no other call returns.
  static basic_id make() { return {std::string{sigil} + random_token(16)}; }
  /// True when the text has the form of an id of this kind.
  bool valid() const { return valid_id(value, sigil); }
  bool empty() const { return value.empty(); }
  friend bool operator==(const basic_id&, const basic_id&) = default;
  friend auto operator<=>(const basic_id&, const basic_id&) = default;
};

namespace id_tag {
struct swarm {
  static constexpr std::string_view sigil = "sw_";
};
struct sandbox {
  static constexpr std::string_view sigil = "sb_";
};
struct pane {
  static constexpr std::string_view sigil = "pn_";
};
struct task {
  static constexpr std::string_view sigil = "tk_";
};
struct transfer {
  static constexpr std::string_view sigil = "tr_";
};
struct attachment {
  static constexpr std::string_view sigil = "at_";
};
} // namespace id_tag

using swarm_id = basic_id<id_tag::swarm>;       ///< sw_: one run
using sandbox_id = basic_id<id_tag::sandbox>;   ///< sb_: our name of a sandbox, not the provider's
using pane_id = basic_id<id_tag::pane>;         ///< pn_: one agent's terminal
using task_id = basic_id<id_tag::task>;         ///< tk_
using transfer_id = basic_id<id_tag::transfer>; ///< tr_: one upload or download
/// at_: a person's terminal on panes. Whoever knows it can type there.
using attachment_id = basic_id<id_tag::attachment>;

template <class T>
inline constexpr bool is_id = false;
template <class Tag>
inline constexpr bool is_id<basic_id<Tag>> = true;

} // namespace skep

template <class Tag>
struct std::hash<skep::basic_id<Tag>> {
  std::size_t operator()(const skep::basic_id<Tag>& x) const noexcept {
    return std::hash<std::string>{}(x.value);
  }
};
