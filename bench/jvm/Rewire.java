// W4 and W7 on a JVM: the program of bench/rewire.cc, which it follows statement by statement, so
// that it ends with the same graph; `checksum` says whether it did. Compiled and started by
// bench/jvm_peer.cc:
//
//   java Rewire WARM_UP_GRAPHS NODES STEPS BATCH GARBAGE_BYTES SEED DIRECTORY
//
// It leaves two files in the directory: result.json, one line of bench/README.md's format with what
// the program itself can measure; and times.txt, the time by System.nanoTime when it had warmed up,
// which is the log's `timenanos`, and then the nanoseconds of each batch of steps.

import com.sun.management.OperatingSystemMXBean;
import com.sun.management.ThreadMXBean;
import java.io.IOException;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.stream.Collectors;
import java.util.stream.LongStream;

final class Rewire {
  static final int DEGREE = 4;
  static final int STEPS_PER_NODE = 20;
  static final int ARRAY_HEADER_BYTES = 16;

  // What is compiled, and how, is settled before the graph is built, on graphs that are small
  // enough for any heap; ten of them make a gigabyte of garbage, so that the collector is at work.
  static final int WARM_UP_NODES = 20_000;
  static final int WARM_UP_STEPS = 200_000;

  // The generator of bench/random.h.
  static final class Random {
    private long state;

    Random(long seed) {
      state = seed;
    }

    long next() {
      state += 0x9e3779b97f4a7c15L;
      long z = state;
      z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
      z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
      return z ^ (z >>> 31);
    }

    // In [0, bound), bound at most 2^32: the product needs all 64 bits, and >>> takes them so.
    long below(long bound) {
      return ((next() >>> 32) * bound) >>> 32;
    }
  }

  // The edges lie in the node, as they do in C++: an array of them would be a second object.
  static final class Node {
    final int number;
    int count; // of references, where they are counted; here it is only as large
    private Node edge0;
    private Node edge1;
    private Node edge2;
    private Node edge3;

    Node(int number) {
      this.number = number;
    }

    Node edge(int i) {
      switch (i) {
        case 0:
          return edge0;
        case 1:
          return edge1;
        case 2:
          return edge2;
        default:
          return edge3;
      }
    }

    void setEdge(int i, Node to) {
      switch (i) {
        case 0:
          edge0 = to;
          break;
        case 1:
          edge1 = to;
          break;
        case 2:
          edge2 = to;
          break;
        default:
          edge3 = to;
      }
    }
  }

  static final class RewiredGraph {
    private final Random random;
    private final Node[] table;
    private int made = 0;

    RewiredGraph(int nodes, long seed) {
      random = new Random(seed);
      table = new Node[nodes];
      for (int i = 0; i < nodes; ++i) table[i] = new Node(made++);
      for (Node node : table) {
        for (int i = 0; i < DEGREE; ++i) node.setEdge(i, randomNode());
      }
    }

    void redirectEdge() {
      long edge = random.below((long) DEGREE * table.length);
      table[(int) (edge / DEGREE)].setEdge((int) (edge % DEGREE), randomNode());
    }

    void replaceNode() {
      Node node = new Node(made++);
      for (int i = 0; i < DEGREE; ++i) node.setEdge(i, randomNode());
      int at = (int) random.below(table.length);
      for (int i = 0; i < DEGREE; ++i) table[at].setEdge(i, null);
      table[at] = node;
    }

    long checksum() {
      long checksum = 0;
      for (Node node : table) {
        for (int i = 0; i < DEGREE; ++i) {
          int number = node.edge(i).number;
          if (Integer.compareUnsigned(number, made) >= 0) {
            throw new IllegalStateException("the graph is damaged");
          }
          checksum = new Random(checksum ^ Integer.toUnsignedLong(number)).next();
        }
      }
      return checksum >>> 1;
    }

    private Node randomNode() {
      return table[(int) random.below(table.length)];
    }
  }

  // The latest garbage. Of an array that is stored nowhere, the compiler would allocate nothing.
  static long[] garbage;

  static void runBatch(RewiredGraph graph, int steps, int garbageWords) {
    for (int step = 1; step <= steps; ++step) {
      if (garbageWords > 0) {
        long[] words = new long[garbageWords];
        words[0] = words[garbageWords - 1] = step;
        garbage = words;
      }
      if (step % STEPS_PER_NODE == 0) {
        graph.replaceNode();
      } else {
        graph.redirectEdge();
      }
    }
  }

  static void runSteps(RewiredGraph graph, int batch, int garbageWords, long[] batchesNs) {
    long since = System.nanoTime();
    for (int i = 0; i < batchesNs.length; ++i) {
      runBatch(graph, batch, garbageWords);
      long now = System.nanoTime();
      batchesNs[i] = now - since;
      since = now;
    }
  }

  // A field of a file like /proc/self/status that is given in kB, in bytes.
  static long bytesOf(String file, String field) throws IOException {
    for (String line : Files.readAllLines(Path.of(file))) {
      String[] words = line.split("\\s+");
      if (words[0].equals(field + ":")) return Long.parseLong(words[1]) * 1024;
    }
    throw new IOException(file + " has no " + field);
  }

  // ZGC maps its heap, which is then shared memory, at three addresses, and resident memory counts
  // a page once for each: Pss_Shmem counts it once. It is memory now, not at its peak; but a heap
  // of a fixed size gives nothing back.
  static long peakResidentBytes() throws IOException {
    String status = "/proc/self/status";
    long shared = bytesOf(status, "RssShmem");
    if (shared == 0) return bytesOf(status, "VmHWM");
    return bytesOf(status, "VmRSS") - shared + bytesOf("/proc/self/smaps_rollup", "Pss_Shmem");
  }

  // As PinThisThread in bench/threads.h: on the processor it is on, if the system lets it.
  static void pinThisThread() throws IOException, InterruptedException {
    String thread = Files.readSymbolicLink(Path.of("/proc/thread-self")).getFileName().toString();
    String stat = Files.readString(Path.of("/proc/thread-self/stat"));
    // Field 39 is the processor; the second is a name in brackets, which may have spaces.
    String processor = stat.substring(stat.lastIndexOf(')') + 2).split(" ")[39 - 3];
    new ProcessBuilder("taskset", "--pid", "--cpu-list", processor, thread)
        .redirectErrorStream(true)
        .redirectOutput(ProcessBuilder.Redirect.DISCARD)
        .start()
        .waitFor();
  }

  // ZGC and Shenandoah count a cycle's pauses beside its cycles.
  static long collections() {
    long collections = 0;
    for (GarbageCollectorMXBean bean : ManagementFactory.getGarbageCollectorMXBeans()) {
      if (!bean.getName().endsWith(" Pauses")) collections += bean.getCollectionCount();
    }
    return collections;
  }

  static long allocatedBytes() {
    return ((ThreadMXBean) ManagementFactory.getThreadMXBean()).getCurrentThreadAllocatedBytes();
  }

  public static void main(String[] args) throws IOException, InterruptedException {
    int warmUpGraphs = Integer.parseInt(args[0]);
    int nodes = Integer.parseInt(args[1]);
    long steps = Long.parseLong(args[2]);
    int batch = Integer.parseInt(args[3]);
    int garbageBytes = Integer.parseInt(args[4]);
    long seed = Long.parseUnsignedLong(args[5]);
    Path directory = Path.of(args[6]);
    int garbageWords = Math.max(0, garbageBytes - ARRAY_HEADER_BYTES) / Long.BYTES;

    for (int i = 0; i < warmUpGraphs; ++i) {
      RewiredGraph small = new RewiredGraph(WARM_UP_NODES, i);
      runSteps(small, batch, garbageWords, new long[WARM_UP_STEPS / batch]);
      small.checksum();
    }
    long collectionsOfWarmUp = collections();
    long warmNs = System.nanoTime();

    long[] batchesNs = new long[Math.toIntExact(steps / batch)];
    RewiredGraph graph = new RewiredGraph(nodes, seed);
    System.gc();
    pinThisThread();
    OperatingSystemMXBean system =
        (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    long collections = collections();
    long allocated = allocatedBytes();
    long cpuNs = system.getProcessCpuTime();
    long wallNs = System.nanoTime();
    runSteps(graph, batch, garbageWords, batchesNs);
    wallNs = System.nanoTime() - wallNs;
    cpuNs = system.getProcessCpuTime() - cpuNs;
    allocated = allocatedBytes() - allocated;
    long peakBytes = peakResidentBytes();
    long timedCollections = collections() - collections;
    long allCollections = collections() - collectionsOfWarmUp;
    if (allocated < steps * garbageBytes) {
      throw new IllegalStateException("the garbage was optimized away: " + allocated + " bytes");
    }

    String result =
        String.format(
            Locale.ROOT,
            "{\"wall_s\":%.9f,\"cpu_s\":%.9f,\"peak_rss_bytes\":%d,\"collections\":%d,"
                + "\"timed_collections\":%d,\"checksum\":%d,\"heap_bytes\":%d}%n",
            wallNs / 1e9,
            cpuNs / 1e9,
            peakBytes,
            allCollections,
            timedCollections,
            graph.checksum(),
            Runtime.getRuntime().maxMemory());
    Files.writeString(directory.resolve("result.json"), result);
    String times =
        LongStream.concat(LongStream.of(warmNs), LongStream.of(batchesNs))
            .mapToObj(Long::toString)
            .collect(Collectors.joining("\n"));
    Files.writeString(directory.resolve("times.txt"), times);
  }

  private Rewire() {}
}
