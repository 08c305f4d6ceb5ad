#include "tests/transfer/scan_corpus.hpp"

#include <array>
#include <zlib.h>

namespace skep::test {
namespace {

using s = std::string;

/// RFC 4648, section 5, without padding.
s base64url(const s& text) {
  constexpr std::string_view letters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  s out;
  unsigned bits = 0;
  int count = 0;
  for (unsigned char c : text) {
    bits = bits << 8 | c;
    for (count += 8; count >= 6; count -= 6)
      out += letters[bits >> (count - 6) & 63];
  }
  if (count > 0) out += letters[bits << (6 - count) & 63];
  return out;
}

/// GitHub's engineering blog, April 2021: 30 random characters, then their CRC-32 in base 62.
s github(draw& d, const s& prefix) {
  auto body = d.alnum(30);
  auto crc = ::crc32(0, reinterpret_cast<const Bytef*>(body.data()), 30);
  constexpr std::string_view letters =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  s check;
  for (int i = 0; i < 6; ++i, crc /= 62)
    check.insert(check.begin(), letters[crc % 62]);
  return prefix + "_" + body + check;
}

/// RFC 7468: lines of 64.
s pem(draw& d, const s& label, const s& eol, std::size_t lines = 6) {
  s out = s(5, '-') + "BEGIN " + label + s(5, '-') + eol;
  for (std::size_t i = 0; i < lines; ++i)
    out += d.base64(64) + eol;
  return out + d.base64(31) + "=" + eol + s(5, '-') + "END " + label + s(5, '-') + eol;
}

/// RFC 7519.
s jwt(draw& d, const s& payload) {
  return base64url(R"({"alg":"HS256","typ":"JWT"})") + "." + base64url(payload) + "." + d.url64(43);
}

s age_key(draw& d) {
  return s{"AGE-SECRET-"} + "KEY-1" + d.of("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58);
}

} // namespace

const std::vector<issued>& issued_forms() {
  static const std::vector<issued> list{
      // Clouds.
      {"AWS access key id",
       [](draw& d) { return s{"AK"} + "IA" + d.of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16); }},
      {"AWS temporary access key id",
       [](draw& d) { return s{"AS"} + "IA" + d.of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16); }},
      {"AWS secret access key",
       [](draw& d) { return s{"aws_secret_"} + "access_key = " + d.base64(40); }},
      {"AWS secret access key in an environment",
       [](draw& d) { return s{"AWS_SECRET_"} + "ACCESS_KEY=\"" + d.base64(40) + "\""; }},
      {"AWS Bedrock API key", [](draw& d) { return s{"AB"} + "SK" + d.base64(128) + "="; }},
      {"Google API key", [](draw& d) { return s{"AI"} + "za" + d.url64(35); }},
      {"Google OAuth client secret", [](draw& d) { return s{"GOC"} + "SPX-" + d.url64(28); }},
      {"Google OAuth access token", [](draw& d) { return s{"ya"} + "29." + d.url64(120); }},
      {"Google service account key",
       [](draw& d) { return s{R"("private_key": ")"} + pem(d, "PRIVATE KEY", "\\n", 20) + "\","; }},
      {"Azure storage account key",
       [](draw& d) {
         return s{"DefaultEndpointsProtocol=https;AccountName=a;Account"} + "Key=" + d.base64(86)
                + "==;EndpointSuffix=core.windows.net";
       }},
      {"Azure client secret",
       [](draw& d) {
         return d.alnum(3) + "8Q~"
                + d.of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-", 33)
                + d.alnum(1);
       }},
      {"DigitalOcean token", [](draw& d) { return s{"do"} + "p_v1_" + d.hex(64); }},
      {"DigitalOcean OAuth token", [](draw& d) { return s{"do"} + "o_v1_" + d.hex(64); }},
      {"Alibaba access key id", [](draw& d) { return s{"LT"} + "AI" + d.alnum(20); }},
      {"Tencent secret id", [](draw& d) { return s{"AK"} + "ID" + d.alnum(32); }},
      {"Cloudflare origin CA key",
       [](draw& d) { return s{"v1"} + ".0-" + d.hex(24) + "-" + d.hex(146); }},
      {"Heroku API key", [](draw& d) { return s{"HRKU"} + "-AA" + d.url64(58); }},
      {"Fly.io token", [](draw& d) { return s{"FlyV1 fm2"} + "_" + d.base64(160) + "=="; }},
      {"Databricks token", [](draw& d) { return s{"da"} + "pi" + d.hex(32); }},
      {"HashiCorp Vault token", [](draw& d) { return s{"hv"} + "s." + d.url64(95); }},
      {"HashiCorp Vault batch token", [](draw& d) { return s{"hv"} + "b." + d.url64(140); }},
      {"Terraform Cloud token",
       [](draw& d) { return d.alnum(14) + ".atlas" + "v1." + d.alnum(67); }},
      {"Doppler token", [](draw& d) { return s{"dp"} + ".pt." + d.alnum(43); }},
      {"Pulumi token", [](draw& d) { return s{"pu"} + "l-" + d.hex(40); }},
      {"PlanetScale password", [](draw& d) { return s{"pscale"} + "_pw_" + d.url64(43); }},
      {"Supabase token", [](draw& d) { return s{"sb"} + "p_" + d.hex(40); }},
      {"Supabase service role key",
       [](draw& d) {
         return jwt(d, R"({"iss":"supabase","ref":")" + d.lower(20)
                           + R"(","role":"service_role","iat":1700000000,"exp":2015576000})");
       }},
      {"Tailscale key",
       [](draw& d) { return s{"tskey"} + "-auth-" + d.alnum(17) + "-" + d.alnum(32); }},
      {"Netlify token", [](draw& d) { return s{"nf"} + "p_" + d.alnum(36); }},
      // Git hosts.
      {"GitHub personal token", [](draw& d) { return github(d, s{"gh"} + "p"); }},
      {"GitHub OAuth token", [](draw& d) { return github(d, s{"gh"} + "o"); }},
      {"GitHub user-to-server token", [](draw& d) { return github(d, s{"gh"} + "u"); }},
      {"GitHub server-to-server token", [](draw& d) { return github(d, s{"gh"} + "s"); }},
      {"GitHub refresh token", [](draw& d) { return github(d, s{"gh"} + "r"); }},
      {"GitHub fine-grained token",
       [](draw& d) { return s{"github"} + "_pat_" + d.alnum(22) + "_" + d.alnum(59); }},
      {"GitLab personal token", [](draw& d) { return s{"gl"} + "pat-" + d.url64(20); }},
      {"GitLab routable token",
       [](draw& d) { return s{"gl"} + "pat-" + d.url64(27) + ".01." + d.lower_digits(9); }},
      {"GitLab runner token", [](draw& d) { return s{"gl"} + "rt-" + d.url64(20); }},
      // Until GitLab 16; the nine characters in front are the same for all.
      {"GitLab runner registration token",
       [](draw& d) { return s{"GR134"} + "8941" + d.url64(20); }},
      {"GitLab deploy token", [](draw& d) { return s{"gl"} + "dt-" + d.url64(20); }},
      {"GitLab trigger token", [](draw& d) { return s{"gl"} + "ptt-" + d.hex(40); }},
      {"Bitbucket app password", [](draw& d) { return s{"AT"} + "BB" + d.alnum(32); }},
      {"Atlassian API token",
       [](draw& d) { return s{"ATATT"} + "3xFfGF0" + d.url64(180) + "=" + d.upper_digits(8); }},
      // Providers of models.
      {"Anthropic API key", [](draw& d) { return s{"sk-"} + "ant-api03-" + d.url64(93) + "AA"; }},
      {"Anthropic admin key",
       [](draw& d) { return s{"sk-"} + "ant-admin01-" + d.url64(93) + "AA"; }},
      {"Anthropic OAuth token",
       [](draw& d) { return s{"sk-"} + "ant-oat01-" + d.url64(93) + "AA"; }},
      {"OpenAI key of the first form",
       [](draw& d) { return s{"sk-"} + d.alnum(20) + "T3Blbk" + "FJ" + d.alnum(20); }},
      {"OpenAI project key",
       [](draw& d) { return s{"sk-"} + "proj-" + d.url64(74) + "T3Blbk" + "FJ" + d.url64(74); }},
      {"OpenAI service account key",
       [](draw& d) { return s{"sk-"} + "svcacct-" + d.url64(74) + "T3Blbk" + "FJ" + d.url64(74); }},
      {"Hugging Face token",
       [](draw& d) {
         return s{"h"} + "f_" + d.of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", 34);
       }},
      {"Groq key", [](draw& d) { return s{"gs"} + "k_" + d.alnum(52); }},
      {"OpenRouter key", [](draw& d) { return s{"sk-"} + "or-v1-" + d.hex(64); }},
      {"Perplexity key", [](draw& d) { return s{"pp"} + "lx-" + d.alnum(48); }},
      {"xAI key", [](draw& d) { return s{"xa"} + "i-" + d.alnum(80); }},
      {"Replicate token", [](draw& d) { return s{"r8"} + "_" + d.alnum(37); }},
      {"NVIDIA key", [](draw& d) { return s{"nv"} + "api-" + d.url64(64); }},
      {"LangSmith key", [](draw& d) { return s{"ls"} + "v2_pt_" + d.hex(32) + "_" + d.hex(10); }},
      {"E2B key", [](draw& d) { return s{"e2"} + "b_" + d.hex(40); }},
      {"Cerebras key", [](draw& d) { return s{"cs"} + "k-" + d.lower_digits(48); }},
      // Payment.
      {"Stripe live secret key", [](draw& d) { return s{"sk"} + "_live_" + d.alnum(24); }},
      {"Stripe live secret key, long", [](draw& d) { return s{"sk"} + "_live_51" + d.alnum(97); }},
      {"Stripe live restricted key", [](draw& d) { return s{"rk"} + "_live_" + d.alnum(99); }},
      {"Stripe test secret key", [](draw& d) { return s{"sk"} + "_test_51" + d.alnum(97); },
       finding_severity::medium},
      {"Stripe test restricted key", [](draw& d) { return s{"rk"} + "_test_" + d.alnum(24); },
       finding_severity::medium},
      {"Stripe webhook secret", [](draw& d) { return s{"wh"} + "sec_" + d.alnum(32); }},
      {"Square access token", [](draw& d) { return s{"EA"} + "AA" + d.url64(60); }},
      {"Square OAuth secret", [](draw& d) { return s{"sq0"} + "csp-" + d.url64(43); }},
      {"Shopify access token", [](draw& d) { return s{"sh"} + "pat_" + d.hex(32); }},
      {"Shopify shared secret", [](draw& d) { return s{"sh"} + "pss_" + d.hex(32); }},
      {"Braintree access token",
       [](draw& d) {
         return s{"access_token"} + "$production$" + d.lower_digits(16) + "$" + d.hex(32);
       }},
      {"Razorpay live key", [](draw& d) { return s{"rzp"} + "_live_" + d.alnum(14); }},
      {"Flutterwave secret key", [](draw& d) { return s{"FLW"} + "SECK-" + d.hex(32) + "-X"; }},
      {"Plaid access token", [](draw& d) { return s{"access-"} + "production-" + d.uuid(); }},
      // Chat and mail.
      {"Slack bot token",
       [](draw& d) {
         return s{"xo"} + "xb-" + d.digits(12) + "-" + d.digits(13) + "-" + d.alnum(24);
       }},
      {"Slack user token",
       [](draw& d) {
         return s{"xo"} + "xp-" + d.digits(12) + "-" + d.digits(12) + "-" + d.digits(13) + "-"
                + d.hex(32);
       }},
      {"Slack app token",
       [](draw& d) {
         return s{"xa"} + "pp-1-A" + d.upper_digits(10) + "-" + d.digits(13) + "-" + d.hex(64);
       }},
      {"Slack webhook",
       [](draw& d) {
         return s{"https://hooks.slack"} + ".com/services/T" + d.upper_digits(8) + "/B"
                + d.upper_digits(10) + "/" + d.alnum(24);
       }},
      {"Discord bot token",
       [](draw& d) { return s{"M"} + d.alnum(23) + "." + "G" + d.alnum(5) + "." + d.url64(38); }},
      {"Discord webhook",
       [](draw& d) {
         return s{"https://discord"} + ".com/api/webhooks/" + d.digits(18) + "/" + d.url64(68);
       }},
      {"Telegram bot token", [](draw& d) { return "7" + d.digits(9) + ":A" + "A" + d.url64(33); }},
      {"Teams webhook",
       [](draw& d) {
         return s{"https://contoso.webhook.office"} + ".com/webhookb2/" + d.uuid() + "@" + d.uuid()
                + "/IncomingWebhook/" + d.hex(32) + "/" + d.uuid();
       }},
      {"SendGrid key", [](draw& d) { return s{"S"} + "G." + d.url64(22) + "." + d.url64(43); }},
      {"Mailgun key", [](draw& d) { return s{"ke"} + "y-" + d.hex(32); }},
      {"Mailchimp key", [](draw& d) { return d.hex(32) + "-u" + "s14"; }},
      {"Brevo key", [](draw& d) { return s{"xkey"} + "sib-" + d.hex(64) + "-" + d.alnum(16); }},
      // The name of a key, of which the secret is another part.
      {"Twilio API key", [](draw& d) { return s{"S"} + "K" + d.hex(32); },
       finding_severity::medium},
      // Package registries.
      {"npm token", [](draw& d) { return github(d, s{"np"} + "m"); }},
      {"PyPI token", [](draw& d) { return s{"py"} + "pi-AgEIcHlwaS5vcmc" + d.url64(150); }},
      {"RubyGems key", [](draw& d) { return s{"ruby"} + "gems_" + d.hex(48); }},
      {"Docker Hub token", [](draw& d) { return s{"dckr"} + "_pat_" + d.url64(27); }},
      {"crates.io token", [](draw& d) { return s{"ci"} + "o" + d.alnum(32); }},
      {"NuGet key", [](draw& d) { return s{"oy"} + "2" + d.lower_digits(43); }},
      {"Artifactory key", [](draw& d) { return s{"AK"} + "Cp" + d.alnum(69); }},
      {"Clojars token", [](draw& d) { return s{"CLO"} + "JARS_" + d.hex(60); }},
      // Watching and working.
      {"Grafana service account token",
       [](draw& d) { return s{"gl"} + "sa_" + d.alnum(32) + "_" + d.hex(8); }},
      {"New Relic user key", [](draw& d) { return s{"NR"} + "AK-" + d.upper_digits(27); }},
      {"Sentry user token", [](draw& d) { return s{"sn"} + "tryu_" + d.hex(64); }},
      {"Linear key", [](draw& d) { return s{"lin"} + "_api_" + d.alnum(40); }},
      {"Notion token", [](draw& d) { return s{"nt"} + "n_" + d.digits(11) + d.alnum(35); }},
      {"Figma token", [](draw& d) { return s{"fi"} + "gd_" + d.url64(40); }},
      {"Postman key", [](draw& d) { return s{"PM"} + "AK-" + d.hex(24) + "-" + d.hex(34); }},
      {"Airtable token", [](draw& d) { return s{"pa"} + "t" + d.alnum(14) + "." + d.hex(64); }},
      {"Dynatrace token",
       [](draw& d) { return s{"dt0"} + "c01." + d.upper_digits(24) + "." + d.upper_digits(64); }},
      {"1Password service account token",
       [](draw& d) { return s{"op"} + "s_ey" + "J" + d.base64(250); }},
      // Private keys.
      {"RSA private key", [](draw& d) { return pem(d, s{"RSA PRIVATE"} + " KEY", "\n", 24); }},
      {"EC private key", [](draw& d) { return pem(d, s{"EC PRIVATE"} + " KEY", "\n", 3); }},
      {"DSA private key", [](draw& d) { return pem(d, s{"DSA PRIVATE"} + " KEY", "\n", 10); }},
      {"PKCS 8 private key", [](draw& d) { return pem(d, s{"PRIVATE"} + " KEY", "\r\n", 26); }},
      {"OpenSSH private key",
       [](draw& d) { return pem(d, s{"OPENSSH PRIVATE"} + " KEY", "\n", 5); }},
      {"encrypted private key",
       [](draw& d) { return pem(d, s{"ENCRYPTED PRIVATE"} + " KEY", "\n", 28); }},
      {"PGP private key",
       [](draw& d) {
         return s(5, '-') + "BEGIN PGP PRIVATE" + " KEY BLOCK" + s(5, '-') + "\n\n" + d.base64(64)
                + "\n" + d.base64(64) + "\n" + d.base64(64) + "\n=abcd\n";
       }},
      {"PuTTY private key",
       [](draw& d) {
         return s{"PuTTY-User-"}
                + "Key-File-2: ssh-rsa\nEncryption: none\nComment: k\nPublic-Lines: 1\n"
                + d.base64(64) + "\nPrivate-Lines: 1\n" + d.base64(64) + "\n";
       }},
      {"age private key", age_key},
      // Tokens that end soon, by RFC 7519.
      {"JSON web token of a session",
       [](draw& d) {
         return jwt(d, R"({"sub":")" + d.lower_digits(12)
                           + R"(","role":"editor","iat":1700000000,"exp":1700003600})");
       },
       finding_severity::medium},
      {"JSON web token of a provider of identities",
       [](draw& d) {
         return jwt(d, R"({"iss":"https://login.corp.net/","aud":")" + d.alnum(32)
                           + R"(","scope":"openid email","exp":1700003600})");
       },
       finding_severity::medium},
      // Databases and others in URLs.
      {"PostgreSQL URL",
       [](draw& d) {
         return s{"postgres"} + "://app:" + d.alnum(18) + "@db.internal.net:5432/app";
       }},
      {"MySQL URL", [](draw& d) { return s{"mysql"} + "://app:" + d.alnum(14) + "@10.1.2.3/app"; }},
      {"MongoDB URL",
       [](draw& d) {
         return s{"mongodb"} + "+srv://admin:" + d.alnum(20)
                + "@cluster0.ab1cd.mongodb.net/?w=majority";
       }},
      {"Redis URL",
       [](draw& d) {
         return s{"redis"} + "://default:" + d.alnum(32) + "@cache.internal.net:6379";
       }},
      // RFC 3986, section 3.2.1.
      {"repository URL with a password",
       [](draw& d) {
         return s{"https"} + "://deploy:" + d.alnum(18) + "@git.internal.net/app.git";
       },
       finding_severity::medium},
      {"file server URL with a password",
       [](draw& d) { return s{"ftp"} + "://backup:" + d.alnum(14) + "@files.internal.net/daily"; },
       finding_severity::medium},
      {"AMQP URL",
       [](draw& d) { return s{"amqps"} + "://svc:" + d.url64(24) + "@mq.internal.net/vhost"; }},
  };
  return list;
}

const std::vector<harmless>& near_misses() {
  static const std::vector<harmless> list{
      {"a documented example key", [](draw&) { return s{"AKIA"} + "IOSFODNN7EXAMPLE"; }},
      {"a documented example secret",
       [](draw&) {
         return s{"aws_secret_access_key"} + " = " + "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
       }},
      {"a key that is too short", [](draw& d) { return s{"gh"} + "p_" + d.alnum(20); }},
      {"a key in a longer word", [](draw& d) { return "x" + s{"AK"} + "IA" + d.upper(16) + "Q"; }},
      {"a key in lower case", [](draw& d) { return s{"ak"} + "ia" + d.lower(16); }},
      {"a key of crosses", [](draw&) { return s{"gh"} + "p_" + s(36, 'x'); }},
      {"a key of stars", [](draw&) { return s{"sk-"} + "ant-api03-" + s(95, '*'); }},
      {"a prefix alone",
       [](draw&) {
         return s{"Tokens begin with "} + "ghp_ or github" + "_pat_, keys with sk-" + "ant-.";
       }},
      {"a Stripe publishable key", [](draw& d) { return s{"pk"} + "_live_" + d.alnum(24); }},
      {"a class of a style sheet",
       [](draw&) {
         return s{".sk-loading-indicator-wrapper-with-a-very-long-name-of-its-own { color: red; }"};
       }},
      {"a package name",
       [](draw&) { return s{"pypi-simple-index-generator-with-a-long-name-indeed"}; }},
      {"a commit", [](draw& d) { return "commit " + d.hex(40); }},
      {"a checksum", [](draw& d) { return "sha256:" + d.hex(64); }},
      {"an integrity line",
       [](draw& d) { return R"("integrity": "sha512-)" + d.base64(86) + R"(==",)"; }},
      {"a UUID", [](draw& d) { return "id: " + d.uuid(); }},
      {"a picture",
       [](draw& d) { return "url(data:image/png;base64,iVBORw0KGgo" + d.base64(900) + ")"; }},
      {"a public key", [](draw& d) { return pem(d, "PUBLIC KEY", "\n"); }},
      {"a certificate", [](draw& d) { return pem(d, "CERTIFICATE", "\n", 18); }},
      {"an OpenSSH public key",
       [](draw& d) {
         return "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ" + d.base64(340) + " me@host";
       }},
      {"a head line of a private key in a text",
       [](draw&) {
         return s{"The file begins with "} + s(5, '-') + "BEGIN RSA PRIVATE" + " KEY" + s(5, '-')
                + " and ends with the same.";
       }},
      {"a private key that is left out",
       [](draw&) {
         return s(5, '-') + "BEGIN PRIVATE" + " KEY" + s(5, '-') + "\n...\n" + s(5, '-')
                + "END PRIVATE" + " KEY" + s(5, '-');
       }},
      {"a pattern for private keys",
       [](draw&) {
         return s{"/"} + s(5, '-') + "BEGIN (?:RSA |EC )?PRIVATE" + " KEY" + s(5, '-') + "/";
       }},
      {"a database URL from the documentation",
       [](draw&) { return s{"postgres"} + "://user:password@localhost:5432/mydb"; }},
      {"a database URL with variables",
       [](draw&) { return s{"postgres"} + "://${DB_USER}:${DB_PASS}@${DB_HOST}/app"; }},
      {"a database URL without a password",
       [](draw&) { return s{"postgresql"} + "://db.internal.net:5432/app"; }},
      {"a database URL with a placeholder",
       [](draw&) { return s{"mongodb"} + "://<username>:<password>@cluster0.mongodb.net"; }},
      {"a secret of a workflow", [](draw&) { return s{"token: ${{ secrets.GITHUB_TOKEN }}"}; }},
      {"an environment variable",
       [](draw&) { return s{"const apiKey = process.env.MY_SERVICE_API_KEY"}; }},
      {"a call", [](draw&) { return s{"password = getpass.getpass(prompt='Password: ')"}; }},
      {"a reference to a key vault",
       [](draw&) { return s{"client_secret: kv://production/oauth/client-secret"}; }},
      {"words about secrets",
       [](draw&) {
         return s{"The secret token is the password of your api key and credentials."};
       }},
      {"a text for people",
       [](draw&) { return s{R"("password": "Please enter your new password twice")"}; }},
      {"a default", [](draw&) { return s{"password: changeme"}; }},
      {"an identifier as a value",
       [](draw&) { return s{"secretName: my-application-tls-secret-name"}; }},
      {"a constant's name as a value",
       [](draw&) { return s{"TOKEN_TYPE = 'URN_IETF_PARAMS_OAUTH_TOKEN_TYPE'"}; }},
      {"a header with a placeholder",
       [](draw&) { return s{"Authorization: Bearer YOUR_ACCESS_TOKEN_GOES_HERE"}; }},
      {"a JWT cut short", [](draw&) { return s{"eyJ"} + "hbGciOiJIUzI1NiJ9.e30"; }},
      {"a webhook without its token",
       [](draw&) {
         return s{"https://hooks.slack"}
                + ".com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX";
       }},
      {"minified code",
       [](draw&) {
         return s{"var "
                  "e=this.tokenizer,t=e.secretKeyHandlerFactory.bind(this),n=e."
                  "passwordValidatorInstance2;"};
       }},
      {"a path",
       [](draw&) { return s{"private_key_file: /etc/ssl/private/server-2024.example.org.key"}; }},
  };
  return list;
}

namespace {

/// A telling name, as programmers write them.
s telling_name(draw& d) {
  static const std::array names{
      "api_key",        "apiKey",        "API_KEY",        "client_secret",  "clientSecret",
      "DB_PASSWORD",    "password",      "auth_token",     "authToken",      "SECRET_KEY",
      "access_token",   "jwt_secret",    "encryptionKey",  "ENCRYPTION_KEY", "signing_secret",
      "session_secret", "SERVICE_TOKEN", "webhook_secret", "private_key_id", "smtp_password"};
  return names[d.below(names.size() - (d.below(10) ? 2 : 0))];
}

s in_some_syntax(draw& d, const s& name, const s& value) {
  switch (d.below(9)) {
  case 0:
    return name + "=" + value;
  case 1:
    return "export " + name + "=\"" + value + "\"";
  case 2:
    return "  \"" + name + "\": \"" + value + "\",";
  case 3:
    return name + ": " + value;
  case 4:
    return "const " + name + " = '" + value + "';";
  case 5:
    return name + " = \"" + value + "\"";
  case 6:
    return "  '" + name + "' => '" + value + "',";
  case 7:
    return "self." + name + " = \"" + value + "\"  # the real one";
  default:
    return name + ": \"" + value + "\"";
  }
}

} // namespace

std::string assignment(draw& d) {
  s value;
  switch (d.below(6)) {
  case 0:
    value = d.hex(32);
    break;
  case 1:
    value = d.hex(64);
    break;
  case 2:
    value = d.alnum(20 + d.below(30));
    break;
  case 3:
    value = d.base64(43) + "=";
    break;
  case 4:
    value = d.url64(32);
    break;
  default:
    value = d.alnum(8) + d.of("!#%*+-_", 1) + d.alnum(9) + d.digits(1);
    break;
  }
  return in_some_syntax(d, telling_name(d), value);
}

std::string harmless_assignment(draw& d) {
  static const std::array words{"access",     "token",   "user",    "service", "internal",
                                "config",     "value",   "manager", "default", "handler",
                                "production", "staging", "client"};
  auto word = [&] { return s{words[d.below(words.size())]}; };
  auto camel = [&] {
    auto w = word();
    w[0] = static_cast<char>(w[0] - 'a' + 'A');
    return w;
  };
  s value;
  switch (d.below(11)) {
  case 0:
    value = word() + "-" + word() + "-" + word() + "-" + word();
    break;
  case 1:
    value = word() + "_" + word() + "_" + word() + "_" + d.digits(2);
    break;
  case 2:
    value = word() + camel() + camel() + camel();
    break;
  case 3:
    value = "process.env." + s{"SERVICE_API_KEY"};
    break;
  case 4:
    value = "${" + s{"SERVICE_API_KEY"} + "}";
    break;
  case 5:
    value = "https://auth." + word() + ".example.com/" + word() + "/v2/" + word();
    break;
  case 6:
    value = "/run/secrets/" + word() + "/" + word() + ".txt";
    break;
  case 7:
    value = "your-" + word() + "-" + word() + "-here";
    break;
  case 8:
    value = s(24, d.below(2) ? 'x' : '*');
    break;
  case 9:
    value = "get" + camel() + camel() + "(" + word() + ")";
    break;
  default:
    value = word() + " " + word() + " of the " + word() + " " + word();
    break;
  }
  return in_some_syntax(d, telling_name(d), value);
}

} // namespace skep::test
