#include "spinor/model/hub.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "spinor/io/testing.h"

namespace spinor::hub_test {
namespace {

namespace fs = std::filesystem;
using testing::message_of;

constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

// Each test sees only the cache it makes; the process is the test's own.
class HubTest : public ::testing::Test {
 protected:
  HubTest() {
    for (const char* variable : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"})
      ::unsetenv(variable);
    ::setenv("HOME", directory_.path().c_str(), 1);
  }
  void add_model(const std::string& cache, const std::string& folder) {
    const fs::path repository = directory_ / cache / folder;
    fs::create_directories(repository / "refs/refs/pr");
    fs::create_directories(repository / "snapshots" / kCommit);
    write_text(repository / "refs/main", kCommit);
    write_text(repository / "refs/refs/pr/1", std::string(kCommit) + "\n");
  }
  std::string resolve(std::string_view model) {
    const std::string path = resolve_model(model).string(), root = directory_.path().string() + "/";
    return path.starts_with(root) ? path.substr(root.size()) : path;
  }
  std::string refusal(std::string_view model) {
    return message_of([&] { resolve_model(model); }, directory_.path());
  }

  testing::TemporaryDirectory directory_;
};

TEST_F(HubTest, DirectoriesAreThemselves) {
  EXPECT_EQ(resolve_model(directory_.path().string()), directory_.path());
  EXPECT_EQ(resolve_model("."), ".");
}

TEST_F(HubTest, NamesAreFoundInTheDefaultCache) {
  add_model(".cache/huggingface/hub", "models--org--name");
  add_model(".cache/huggingface/hub", "models--gpt2");
  const std::string snapshot = std::string("/snapshots/") + kCommit;
  EXPECT_EQ(resolve("org/name"), ".cache/huggingface/hub/models--org--name" + snapshot);
  EXPECT_EQ(resolve("gpt2"), ".cache/huggingface/hub/models--gpt2" + snapshot);
  EXPECT_EQ(resolve("org/name@main"), resolve("org/name"));
  EXPECT_EQ(resolve("org/name@refs/pr/1"), resolve("org/name"));
  EXPECT_EQ(resolve(std::string("org/name@") + kCommit), resolve("org/name"));
}

TEST_F(HubTest, VariablesOfTheHuggingFaceLibrariesDecideTheCache) {
  for (const char* cache : {"xdg/huggingface/hub", "home/hub", "older", "cache"}) add_model(cache, "models--org--name");
  const auto set = [&](const char* variable, const std::string& value) { ::setenv(variable, value.c_str(), 1); };
  set("XDG_CACHE_HOME", directory_ / "xdg");
  EXPECT_TRUE(resolve("org/name").starts_with("xdg/huggingface/hub/"));
  set("HF_HOME", "~/home");
  EXPECT_TRUE(resolve("org/name").starts_with("home/hub/"));
  set("HUGGINGFACE_HUB_CACHE", "~/older");
  EXPECT_TRUE(resolve("org/name").starts_with("older/"));
  set("HF_HUB_CACHE", directory_ / "cache");
  EXPECT_TRUE(resolve("org/name").starts_with("cache/"));
  set("HF_HUB_CACHE", "");
  EXPECT_TRUE(resolve("org/name").starts_with("older/"));
}

TEST_F(HubTest, VariablesInVariablesAreExpanded) {
  add_model("cache", "models--org--name");
  for (const char* written : {"$HOME/cache", "${HOME}/cache", "$HOME/${HUB_TEST_PART}he"}) {
    ::setenv("HUB_TEST_PART", "cac", 1);
    ::setenv("HF_HUB_CACHE", written, 1);
    EXPECT_TRUE(resolve("org/name").starts_with("cache/")) << written;
  }
  for (const char* kept : {"/$HUB_TEST_NONE", "/${HOME", "/${", "/$", "/$$", "/a$-"}) {
    ::setenv("HF_HUB_CACHE", kept, 1);
    EXPECT_TRUE(refusal("org/name").starts_with(std::string("org/name: neither a directory nor in the cache ") + kept));
  }
}

TEST_F(HubTest, AModelThatIsNotThereSaysWhereItWasSought) {
  EXPECT_EQ(refusal("org/name"),
            "org/name: neither a directory nor in the cache .cache/huggingface/hub; give a directory, or fetch it: hf "
            "download org/name");
}

TEST_F(HubTest, ARevisionThatIsNotThereIsNamed) {
  add_model(".cache/huggingface/hub", "models--org--name");
  EXPECT_EQ(refusal("org/name@v2"),
            "org/name: .cache/huggingface/hub/models--org--name has no revision v2; give a directory, or fetch it: hf "
            "download org/name --revision v2");
}

TEST_F(HubTest, PathsAreNotTakenForNames) {
  write_text(directory_ / "file", "x");
  EXPECT_EQ(refusal((directory_ / "file").string()),
            "file: is not a directory; give the directory that holds config.json and the weights");
  for (const std::string path :
       {"./none", "a/b/c", "/none", "../none", "", "org/name@../x", "org/name@/x", "org/name@"})
    EXPECT_EQ(refusal(path), path + ": no such directory");
}

TEST_F(HubTest, DamagedReferencesAreRefused) {
  add_model(".cache/huggingface/hub", "models--org--name");
  write_text(directory_ / ".cache/huggingface/hub/models--org--name/refs/main", "../../x");
  EXPECT_EQ(refusal("org/name"),
            ".cache/huggingface/hub/models--org--name/refs/main: holds no commit; download the model again");
}

}  // namespace
}  // namespace spinor::hub_test
