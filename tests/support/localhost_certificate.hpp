// A key and a certificate for "localhost" that nobody but itself vouches for: made anew each time,
// valid for an hour.
#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdexcept>
#include <string>

namespace skep::test {

class localhost_certificate {
public:
  localhost_certificate() : key_{EVP_EC_gen("P-256"), EVP_PKEY_free}, x_{X509_new(), X509_free} {
    X509_set_version(x_.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x_.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(x_.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x_.get()), 3600);
    X509_set_pubkey(x_.get(), key_.get());
    auto* name = X509_get_subject_name(x_.get());
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
    X509_set_issuer_name(x_.get(), name);
    auto* names = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "DNS:localhost");
    X509_add_ext(x_.get(), names, -1);
    X509_EXTENSION_free(names);
    if (X509_sign(x_.get(), key_.get(), EVP_sha256()) == 0)
      throw std::runtime_error{"no certificate can be made"};
  }

  X509* get() const { return x_.get(); }
  EVP_PKEY* key() const { return key_.get(); }

  /// The certificate in PEM, for who shall trust it or serve it.
  void write(const std::filesystem::path& to) const {
    if (PEM_write_X509(open(to).get(), x_.get()) != 1) fail(to);
  }
  void write_key(const std::filesystem::path& to) const {
    if (PEM_write_PrivateKey(open(to).get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr)
        != 1)
      fail(to);
  }

private:
  using file = std::unique_ptr<FILE, int (*)(FILE*)>;

  static file open(const std::filesystem::path& to) {
    file out{std::fopen(to.c_str(), "w"), &std::fclose};
    if (!out) fail(to);
    return out;
  }
  [[noreturn]] static void fail(const std::filesystem::path& to) {
    throw std::runtime_error{"cannot write " + to.string()};
  }

  std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key_;
  std::unique_ptr<X509, void (*)(X509*)> x_;
};

} // namespace skep::test
