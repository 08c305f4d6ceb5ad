// The low-level functions of libcrypto: EVP would pull the whole provider machinery, and with it
// dlopen, into the static guest.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "transfer/sha256.hpp"

#include "transfer/posix.hpp"

#include <cerrno>
#include <fcntl.h>
#include <openssl/sha.h>
#include <unistd.h>

namespace skep::transfer {
namespace {
SHA256_CTX* context(std::array<unsigned char, 128>& state) {
  static_assert(sizeof(SHA256_CTX) <= sizeof state);
  return reinterpret_cast<SHA256_CTX*>(state.data());
}
} // namespace

sha256::sha256() {
  SHA256_Init(context(state_));
}

void sha256::update(std::string_view data) {
  SHA256_Update(context(state_), data.data(), data.size());
}

std::string sha256::hex() {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256_Final(digest, context(state_));
  std::string out;
  out.reserve(2 * sizeof digest);
  for (auto byte : digest) {
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 15];
  }
  return out;
}

std::string sha256_of(std::string_view data) {
  sha256 hash;
  hash.update(data);
  return hash.hex();
}

result<std::string> sha256_of_file(const std::string& path) {
  unique_fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!fd) return io_error(path, errno);
  sha256 hash;
  std::string buffer(256 * 1024, '\0');
  for (;;) {
    auto n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error(path, errno);
    if (n == 0) return hash.hex();
    hash.update({buffer.data(), static_cast<std::size_t>(n)});
  }
}

} // namespace skep::transfer
