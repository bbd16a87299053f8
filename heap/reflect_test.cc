#include "heap/reflect.h"

#include <array>
#include <atomic>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/field.h"

namespace ebb {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

template <typename T>
std::vector<size_t> Found() {
  CheckManaged<T>();
  static_assert(Managed<T>);
  return {internal::kReferenceOffsets<T>.begin(), internal::kReferenceOffsets<T>.end()};
}

// Where `member` really is in `object`.
template <typename T, typename M>
size_t At(const T& object, const M& member) {
  return reinterpret_cast<uintptr_t>(&member) - reinterpret_cast<uintptr_t>(&object);
}

struct Incomplete;
using F = Field<Incomplete>;

struct Empty {};
struct Leaf {
  int a;
  double b;
};
struct Node {
  Field<Node> left, right;
  int64_t value = 0;
};
struct Mixed {
  char a;
  F f;
  int16_t b;
  int32_t c;
  char d;
  const F g;
  char e;
};
struct Inner {
  char a;
  F f[2];
  int16_t b;
};
struct Outer {
  int8_t a;
  Inner inner;
  std::array<Inner, 2> array;
  Inner matrix[2][2];
  Empty empty;
  F last;
};

TEST(ReflectTest, TypesWithoutReferences) {
  EXPECT_THAT(Found<int>(), IsEmpty());
  EXPECT_THAT(Found<void*>(), IsEmpty());
  EXPECT_THAT(Found<Empty>(), IsEmpty());
  EXPECT_THAT(Found<Leaf>(), IsEmpty());
  EXPECT_THAT((Found<std::array<Leaf, 3>>()), IsEmpty());
  EXPECT_THAT((Found<std::array<F, 0>>()), IsEmpty());
}

TEST(ReflectTest, FieldsAmongScalars) {
  const Node node;
  EXPECT_THAT(Found<Node>(), ElementsAre(At(node, node.left), At(node, node.right)));
  const Mixed mixed = {};
  EXPECT_THAT(Found<Mixed>(), ElementsAre(At(mixed, mixed.f), At(mixed, mixed.g)));
}

TEST(ReflectTest, FieldsAloneAndInArrays) {
  EXPECT_THAT(Found<F>(), ElementsAre(0));
  EXPECT_THAT((Found<std::array<F, 3>>()), ElementsAre(0, 8, 16));
}

TEST(ReflectTest, NestedAggregatesAndArrays) {
  const Outer o = {};
  EXPECT_THAT(Found<Outer>(),
              ElementsAre(At(o, o.inner.f[0]), At(o, o.inner.f[1]),                //
                          At(o, o.array[0].f[0]), At(o, o.array[0].f[1]),          //
                          At(o, o.array[1].f[0]), At(o, o.array[1].f[1]),          //
                          At(o, o.matrix[0][0].f[0]), At(o, o.matrix[0][0].f[1]),  //
                          At(o, o.matrix[0][1].f[0]), At(o, o.matrix[0][1].f[1]),  //
                          At(o, o.matrix[1][0].f[0]), At(o, o.matrix[1][0].f[1]),  //
                          At(o, o.matrix[1][1].f[0]), At(o, o.matrix[1][1].f[1]), At(o, o.last)));
}

// Members of every kind that holds no reference, between Fields.
union Number {
  int64_t i;
  double d;
};
struct Bits {
  unsigned a : 3;
  unsigned b : 13;
};
enum class Color : uint8_t { kRed };
class Opaque {
 public:
  explicit Opaque(int value) : value_(value) {}
  int value() const { return value_; }

 private:
  int value_;
};
struct ManyKinds {
  Color color;
  F f1;
  Number number;
  Bits bits;
  std::string_view view;
  F f2;
  std::complex<float> complex;
  std::atomic<int16_t> atomic;
  std::pair<char, int> pair;
  F f3;
  std::optional<int> optional;
  int (*function)(int);
  int Leaf::* member;
  F f4;
  const char* text;
  volatile int counter;
  __extension__ __int128* wide;
  F f5;
};

TEST(ReflectTest, MembersOfManyKinds) {
  const ManyKinds k = {};
  EXPECT_THAT(Found<ManyKinds>(),
              ElementsAre(At(k, k.f1), At(k, k.f2), At(k, k.f3), At(k, k.f4), At(k, k.f5)));
}

struct WithoutDefault {
  char a;
  Opaque opaque;
  F f;
  const Opaque other;
};
struct WithInitializer {
  char a;
  F f;
  Opaque opaque = Opaque(1);
  F g;
};

TEST(ReflectTest, MembersWithoutDefaultConstructor) {
  const WithoutDefault a = {'a', Opaque(1), nullptr, Opaque(2)};
  EXPECT_THAT(Found<WithoutDefault>(), ElementsAre(At(a, a.f)));
  const WithInitializer b = {};
  EXPECT_THAT(Found<WithInitializer>(), ElementsAre(At(b, b.f), At(b, b.g)));
}

struct SixtyFour {
  int a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7, c0, c1, c2, c3, c4, c5, c6,
      c7, d0, d1, d2, d3, d4, d5, d6, d7, e0, e1, e2, e3, e4, e5, e6, e7, f0, f1, f2, f3, f4, f5,
      f6, f7, g0, g1, g2, g3, g4, g5, g6, g7, h0, h1, h2, h3, h4;
  F x;
  char y[100];
  F z;
};

TEST(ReflectTest, AsManyMembersAsThereMayBe) {
  const SixtyFour s = {};
  EXPECT_THAT(Found<SixtyFour>(), ElementsAre(At(s, s.x), At(s, s.z)));
}

// Layouts that no aggregate needs EBB_FIELDS for although they are unusual.
struct BitsAlone {
  unsigned a : 3;
  unsigned b : 30;
};
struct WideBitsAlone {
  unsigned a : 20;
  unsigned b : 20;
  uint64_t c : 50;
};
struct alignas(16) OveralignedLeaf {
  double d;
};
struct BaseLeaf : Leaf {
  int c;
};
struct NamelessUnion {
  int tag;
  union {
    int number;
    float real;
  };
};
// The union is not a member of this one, although it takes its first initialiser.
struct HoldsNamelessUnion {
  NamelessUnion unions[3];
  F f;
};
struct BeginsWithNamelessUnion {
  union {
    int number;
    float real;
  } u;
};
struct HoldsBeginsWithNamelessUnion {
  BeginsWithNamelessUnion first;
  F f;
};

TEST(ReflectTest, UnusualLayoutsWithoutReferences) {
  EXPECT_THAT(Found<BitsAlone>(), IsEmpty());
  EXPECT_THAT(Found<WideBitsAlone>(), IsEmpty());
  EXPECT_THAT(Found<OveralignedLeaf>(), IsEmpty());
  EXPECT_THAT(Found<BaseLeaf>(), IsEmpty());
  EXPECT_THAT(Found<NamelessUnion>(), IsEmpty());
  EXPECT_THAT(Found<HoldsNamelessUnion>(), ElementsAre(24));
  EXPECT_THAT(Found<HoldsBeginsWithNamelessUnion>(), ElementsAre(8));
}

class Named {
 public:
  explicit Named(int value) : value_(value) {}
  ~Named() = default;
  std::vector<size_t> Expected() const {
    return {At(*this, f_), At(*this, array_[0]), At(*this, array_[1]), At(*this, inner_.f[0]),
            At(*this, inner_.f[1])};
  }

 private:
  F f_;
  int value_;
  F array_[2];
  char c_ = 0;
  Inner inner_;

  EBB_FIELDS(Named, inner_, value_, array_, f_, c_)
};

TEST(ReflectTest, EbbFieldsFindsPrivateMembersNamedInAnyOrder) {
  EXPECT_EQ(Found<Named>(), Named(1).Expected());
  EXPECT_EQ(Named(1).Expected().size(), 5);
}

class NoReferences {
 public:
  explicit NoReferences(int value) : value_(value), other_(value) {}
  int sum() const { return value_ + other_; }

 private:
  int value_;
  int other_;
  EBB_FIELDS(NoReferences);
};

struct Parent {
  F f;
  int a;
};
class Child : public Parent {
 public:
  explicit Child(int b) : b_(b) {}
  std::vector<size_t> Expected() const { return {At(*this, f), At(*this, g_)}; }

 private:
  char b_;
  F g_;
  EBB_FIELDS(Child, f, a, b_, g_)
};

struct alignas(16) Overaligned {
  F f;
  alignas(16) F g;
  EBB_FIELDS(Overaligned, f, g)
};
struct Spread {
  [[no_unique_address]] Empty empty;
  alignas(8) char a;
  alignas(8) char b;
  F f;
  EBB_FIELDS(Spread, empty, a, b, f)
};

template <typename A, typename B>
class Pair {
 public:
  Pair() {}
  std::vector<size_t> Expected() const { return {At(*this, second_)}; }

 private:
  A first_ = {};
  Field<B> second_;
  EBB_FIELDS(Pair, first_, second_)
};

struct BitsBesideReferences {
  Bits bits;
  F f;
};

TEST(ReflectTest, EbbFieldsWithEveryLayout) {
  EXPECT_THAT(Found<NoReferences>(), IsEmpty());
  EXPECT_EQ(NoReferences(2).sum(), 4);
  EXPECT_EQ(Found<Child>(), Child(1).Expected());
  const Overaligned o;
  EXPECT_THAT(Found<Overaligned>(), ElementsAre(At(o, o.f), At(o, o.g)));
  const Spread s = {};
  EXPECT_THAT(Found<Spread>(), ElementsAre(At(s, s.f)));
  EXPECT_EQ((Found<Pair<char, Incomplete>>()), (Pair<char, Incomplete>().Expected()));
  EXPECT_THAT(Found<BitsBesideReferences>(), ElementsAre(8));
}

struct HoldsNamed {
  char a;
  Named named;
  std::array<Child, 2> children;
};

TEST(ReflectTest, NamedClassesInsideAggregates) {
  const HoldsNamed h = {'a', Named(1), {Child(1), Child(2)}};
  std::vector<size_t> expected;
  for (size_t offset : h.named.Expected()) expected.push_back(At(h, h.named) + offset);
  for (const Child& child : h.children) {
    for (size_t offset : child.Expected()) expected.push_back(At(h, child) + offset);
  }
  EXPECT_EQ(Found<HoldsNamed>(), expected);
}

}  // namespace

struct OptedIn {
  OptedIn() {}
  OptedIn(const OptedIn&) {}
  ~OptedIn() {}
  int value = 0;
};
template <>
inline constexpr bool kTriviallyRelocatable<OptedIn> = true;

namespace {

struct HoldsOptedIn {
  OptedIn value;
  F f;
};

TEST(ReflectTest, OptedInClassesAreLeaves) {
  EXPECT_THAT(Found<OptedIn>(), IsEmpty());
  EXPECT_THAT(Found<HoldsOptedIn>(), ElementsAre(8));
}

// tests/compile_fail has the messages; here is that the concept knows the same mistakes.
struct RawPointer {
  RawPointer* next;
};
struct PointerToNode {
  const Node* node;
};
struct Config {
  std::string name;
};
struct PointerOutside {
  Config* config;
  F f;
};
struct HoldsString {
  F f;
  std::string s;
};
struct HoldsRef {
  Ref<Node> ref;
};
struct DeepMistake {
  std::array<HoldsString, 2> parts[2];
};

static_assert(Managed<PointerOutside>);
static_assert(!Managed<RawPointer>);
static_assert(!Managed<PointerToNode>);
static_assert(!Managed<HoldsString>);
static_assert(!Managed<HoldsRef>);
static_assert(!Managed<DeepMistake>);
static_assert(!Managed<std::string>);
static_assert(!Managed<std::unique_ptr<int>>);
static_assert(!Managed<const int>);
static_assert(!Managed<int&>);
static_assert(!Managed<int[3]>);
static_assert(!Managed<void>);
static_assert(!Managed<std::array<F, 1025>>);
static_assert(internal::kIsHandle<Local<int>> && internal::kIsHandle<Persistent<int>>);

// What reflection relies on: the compiler never takes a class that holds a Field for trivial.
static_assert(!internal::kIsTrivial<F>);
static_assert(!internal::kIsTrivial<Node>);
static_assert(std::is_trivially_destructible_v<F>);
static_assert(sizeof(F) == 8 && alignof(F) == 8);

}  // namespace
}  // namespace ebb
