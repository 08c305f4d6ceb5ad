// Every message there is behind one interface, so that a test that holds for all of them is
// compiled once and not for each.
#pragma once

#include "tests/messages/all_messages.hpp"

#include <memory>
#include <vector>

namespace skep::test {

/// One field of a value.
struct field_facts {
  std::uint32_t number = 0;
  std::string_view name;
  std::string type;   ///< As in schema.golden.
  std::string packed; ///< Its value alone.
};

/// A value of some message type.
class any_message {
public:
  virtual ~any_message() = default;
  virtual std::string packed() const = 0;
  virtual json as_json() const = 0;
  virtual std::vector<field_facts> fields() const = 0;
  /// True when `data` is one whole message of this type, which this one then is.
  virtual bool read(std::string_view data) = 0;
  virtual bool read_json(const json& j) = 0;
  /// `other` is of the same type.
  virtual bool same_as(const any_message& other) const = 0;
  /// Through CAF's serializer into `out`, of the same type, the last `cut` bytes taken away: true
  /// when all of it was read.
  virtual bool through_caf(any_message& out, std::size_t cut) const = 0;
};
using any_message_ptr = std::unique_ptr<any_message>;

struct message_type {
  std::string_view name;
  any_message_ptr (*plain)();
  any_message_ptr (*filled)(fill_mode mode);
};

/// In the order of for_each_message().
const std::vector<message_type>& message_types();

} // namespace skep::test
