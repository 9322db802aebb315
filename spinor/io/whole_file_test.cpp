#include "spinor/io/whole_file.h"

#include <gtest/gtest.h>

#include <vector>

#include "spinor/io/testing.h"

namespace spinor::whole_file_test {
namespace {

TEST(WholeFile, OfTensorsIsReadAsItWasWritten) {
  const testing::TemporaryDirectory directory;
  const std::vector<double> wide = {1, 2, 3};
  const std::vector<float> narrow = {4, 5};
  const std::vector<TensorBytes> tensors = {
      {{.name = "a", .dtype = DType::F32, .shape = {2}}, std::as_bytes(std::span(narrow))},
      {{.name = "b", .dtype = DType::F64, .shape = {3, 1}}, std::as_bytes(std::span(wide))}};
  write_safetensors(directory / "file", tensors, {{"key", "value"}});
  const File file = File::open(directory / "file");
  const SafetensorsHeader header = read_safetensors_header(file);
  EXPECT_EQ(header.metadata.at("key"), "value");
  ASSERT_EQ(header.tensors.size(), 2U);
  EXPECT_EQ(header.tensors[0].name, "b");  // wide types first
  EXPECT_EQ(header.tensors[0].shape, (std::vector<int64_t>{3, 1}));
  std::vector<double> read(3);
  file.read(header.tensors[0].begin, std::as_writable_bytes(std::span(read)));
  EXPECT_EQ(read, wide);
  write_safetensors(directory / "file", {}, {});
  EXPECT_TRUE(read_safetensors_header(File::open(directory / "file")).tensors.empty());
}

TEST(WholeFile, IsAsItWasWhereWritingFails) {
  const testing::TemporaryDirectory directory;
  write_text(directory / "file", "old");
  const auto fails = [](File& file) {
    file.write(0, std::as_bytes(std::span("ne")));
    throw Error("file", "fails");
  };
  EXPECT_THROW(write_whole(directory / "file", 3, fails), Error);
  EXPECT_EQ(read_text(directory / "file"), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1);
}

}  // namespace
}  // namespace spinor::whole_file_test
