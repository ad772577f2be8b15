// SPDX-License-Identifier: Apache-2.0
// Bad input to mneme-stream gives one clear line on stderr and a non-zero exit code.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "catch.hpp"

namespace {

struct outcome {
  int code;
  std::string text;  // of stdout and stderr together
};
outcome run(const std::string& arguments) {
  outcome result{};
  std::FILE* pipe = popen((std::string(MNEME_STREAM) + " " + arguments + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  char part[256];
  while (std::fgets(part, sizeof part, pipe)) result.text += part;
  result.code = pclose(pipe);
  return result;
}
// One line that contains every given part.
void refuses(const std::string& arguments, std::initializer_list<const char*> parts) {
  const outcome o = run(arguments);
  INFO("mneme-stream " << arguments << "\n" << o.text);
  CHECK(o.code != 0);
  CHECK(o.text.find('\n') + 1 == o.text.size());
  CHECK(o.text.starts_with("mneme-stream: "));
  for (const char* part : parts) CHECK(o.text.find(part) != std::string::npos);
}

const std::string text = " --text " MNEME_GOLDEN_DIR "/smollm2/second_text.txt ";

}  // namespace

TEST_CASE("mneme-stream refuses arguments that make no sense") {
  refuses("", {"--model"});
  refuses("--model m.gguf", {"--text", "--prompt"});
  refuses("--model m.gguf --capacity 0" + text, {"--capacity", "0", "at least 1"});
  refuses("--model m.gguf --capacity -3" + text, {"--capacity", "-3"});
  refuses("--model m.gguf --capacity many" + text, {"--capacity", "many"});
  refuses("--model m.gguf --policy newest" + text, {"newest", "window", "h2o"});
  refuses("--model m.gguf --store f64" + text, {"f64", "q8_0"});
  refuses("--model m.gguf --tokens 1" + text, {"--tokens", "1"});
  refuses("--model m.gguf --threads 0" + text, {"--threads", "0"});
  refuses("--model m.gguf --prompt hello", {"--generate"});
  refuses("--model m.gguf --policy full,window --state-out s" + text, {"--state-out", "one policy"});
  refuses("--model m.gguf --speed 3" + text, {"--speed"});
}

TEST_CASE("mneme-stream refuses model files that it cannot use") {
  refuses("--model no_such_file.gguf" + text, {"no_such_file.gguf"});

  const auto with_bytes = [](const std::string& bytes) {
    std::ofstream("bad.gguf", std::ios::binary) << bytes;
    return "--model bad.gguf" + text;
  };
  refuses(with_bytes(""), {"bad.gguf"});
  refuses(with_bytes("this is a text, not a model"), {"bad.gguf", "magic"});
  refuses(with_bytes(std::string("GGUF\3\0\0\0\1\0\0\0\0\0", 14)), {"bad.gguf"});
  std::remove("bad.gguf");
}

TEST_CASE("mneme-stream explains itself") {
  const outcome o = run("--help");
  CHECK(o.code == 0);
  for (const char* word : {"--policy", "--capacity", "--state-in", "--json", "tova", "q8_0"})
    CHECK(o.text.find(word) != std::string::npos);
}
