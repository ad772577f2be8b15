// SPDX-License-Identifier: Apache-2.0
// Reads files byte by byte and learns as it reads: before each byte it states the odds of all 256, pays the
// surprise in bits, and steps down the gradient. No model file, no training run.
//   hashed n-gram tables   logits of the next byte after the last 0 to 7 bytes
//   linear attention       what followed the contexts that resemble this one, all the way back
//   softmax head           mixes them; its weights and the tables learn from every byte
#include <CLI/CLI.hpp>
#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <mneme/mneme.hpp>
#include <string>
#include <vector>
#include "plot/plot.hpp"

using mneme::index_t;
using arch = mneme::simd::native;
constexpr index_t bytes = 256, width = 64;

unsigned char byte(char c) { return static_cast<unsigned char>(c); }
std::uint64_t hashed(std::uint64_t h, std::uint64_t x) {
  h = (h + x + 1) * 0xbf58476d1ce4e5b9ull;
  return h ^ (h >> 29);
}

// Logits of the next byte, a row per hashed context of `order` bytes, each row learning by itself.
class ngram_table {
 public:
  explicit ngram_table(std::size_t order) : order_(order) { mix_.fill(0.3f); }

  void add_logits(const std::string& text, std::size_t at, float* logits) {
    std::uint64_t h = order_;
    for (std::size_t k = 1; k <= order_ && k <= at; ++k) h = hashed(h, byte(text[at - k]));
    row_ = (h >> 40) % seen_.size();
    level_ = std::min<std::size_t>(15, static_cast<std::size_t>(2 * std::log2(1.0 + seen_[row_])));
    mneme::axpy<arch>(bytes, mix_[level_], &logits_[row_ * bytes], logits);
  }
  // slope: of the surprise over the mixed logits.
  void learn(unsigned char next, const float* slope) {
    float* const row = &logits_[row_ * bytes];
    mix_[level_] -= 0.001f * mneme::dot<arch>(bytes, slope, row);
    float p[bytes];
    std::copy_n(row, bytes, p);
    mneme::softmax<arch>(bytes, p);
    const float rate = 6 / std::pow(1.0f + static_cast<float>(seen_[row_]++), 0.25f);
    mneme::axpy<arch>(bytes, -rate, p, row);
    row[next] += rate;
  }

 private:
  std::size_t order_, row_ = 0, level_ = 0;
  std::vector<int> seen_ = std::vector<int>(1 << 15);
  std::vector<float> logits_ = std::vector<float>(seen_.size() * bytes);
  std::array<float, 16> mix_;  // by how often a row was seen
};

// Linear attention whose input rows are [key | value | query]: the projections pick them out.
mneme::linear_attention<float> association() {
  mneme::linear_attention<float> m(
      {.d_model = 3 * width, .heads = 1, .head_dim_k = width, .head_dim_v = width});
  const auto pick = [](mneme::weight& w, index_t from) {
    std::fill_n(mneme::edit<float>(w), w.size(), 0.0f);
    for (index_t i = 0; i < width; ++i) mneme::edit<float>(w)[i * w.cols() + from + i] = 1;
  };
  pick(m.weights().k_proj, 0);
  pick(m.weights().v_proj, width);
  pick(m.weights().q_proj, 2 * width);
  pick(m.weights().o_proj, 0);
  return m;
}
void add_signs(std::uint64_t h, float* out) {
  const std::uint64_t bits = mneme::random_stream(h, 0).bits();
  for (index_t i = 0; i < width; ++i) out[i] += (bits >> i) & 1 ? 1.0f : -1.0f;
}

// Bytes that a compressor makes of the files; next to nothing where it is missing.
double size_after(const char* command, const std::string& files) {
  double size = 0;
  std::FILE* const pipe = popen(("cat " + files + " | " + command + " 2>/dev/null | wc -c").c_str(), "r");
  if (pipe && std::fscanf(pipe, "%lf", &size) != 1) size = 0;
  if (pipe) pclose(pipe);
  return size;
}

int main(int argc, char** argv) {
  CLI::App app("Predicts files byte by byte while it learns from them.");
  std::vector<std::string> files;
  std::string picture;
  app.add_option("file", files, "what to read")->required()->check(CLI::ExistingFile);
  app.add_option("--plot", picture, "draw bits per byte against position into this SVG file");
  CLI11_PARSE(app, argc, argv);
  std::string text, quoted;
  for (const auto& f : files) {
    std::ifstream in(f, std::ios::binary);
    text.append(std::istreambuf_iterator<char>(in), {});
    quoted += " '" + f + "'";
  }

  std::vector<ngram_table> tables;
  for (const unsigned order : {0u, 1u, 2u, 3u, 4u, 5u, 7u}) tables.emplace_back(order);
  const auto memory = association();
  mneme::context ctx;
  auto past = memory.init();
  std::vector<float> x(3 * width), recalled(3 * width), head(bytes * width), p(bytes);

  plot::series running{"bits per byte so far", {}};
  std::printf("%12s %14s %10s\n", "bytes", "bits per byte", "seconds");
  const auto start = std::chrono::steady_clock::now();
  const std::size_t every = text.size() / 10 + 1;
  double bits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const unsigned char next = byte(text[i]);
    std::fill(p.begin(), p.end(), 0.0f);
    for (auto& t : tables) t.add_logits(text, i, p.data());
    // The last query is the key of what followed it.
    std::copy_n(x.begin() + 2 * width, width, x.begin());
    std::fill(x.begin() + width, x.end(), 0.0f);
    if (i > 0) add_signs(byte(text[i - 1]), &x[width]);
    std::uint64_t h = 0;
    for (std::size_t k = 1; k <= 4 && k <= i; ++k) add_signs(h = hashed(h, byte(text[i - k])), &x[2 * width]);
    mneme::step(memory, ctx, past, x, recalled);
    for (std::size_t b = 0; b < bytes; ++b)
      p[b] += mneme::dot<arch>(width, &head[b * width], recalled.data());

    mneme::softmax<arch>(bytes, p.data());
    bits -= std::log2(std::max(p[next], 1e-9f));
    p[next] -= 1;  // now the slope of the surprise
    for (auto& t : tables) t.learn(next, p.data());
    for (std::size_t b = 0; b < bytes; ++b)
      mneme::axpy<arch>(width, -0.02f * p[b], recalled.data(), &head[b * width]);

    const double n = static_cast<double>(i + 1);
    if (i % (every / 20 + 1) == 0) running.points.emplace_back(n, bits / n);
    if ((i + 1) % every == 0 || i + 1 == text.size()) {
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      std::printf("%12zu %14.3f %10.1f\n", i + 1, bits / n, took.count());
    }
  }

  std::vector<plot::series> lines{running};
  for (const char* command : {"gzip -9", "xz -9e"})
    if (const double size = size_after(command, quoted), n = static_cast<double>(text.size()); size > 100) {
      std::printf("%12s %14.3f\n", command, 8 * size / n);
      lines.push_back({command, {{1, 8 * size / n}, {n, 8 * size / n}}});
    }
  if (!picture.empty())
    plot::write_svg(picture, {{"Learning while reading", "bytes read", "bits per byte", lines}});
}
