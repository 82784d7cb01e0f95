# Sourced by the benchmarks of Deeplearning4j's networks, from the project's folder: builds what they run, and defines
#   deeplearning4j CLASS ARGUMENT...   runs a class of dev.phalanx.bench.deeplearning4j, with one thread for each rank, for SECONDS_A_RUN at
#                                      most
# ND4J frees its arrays by JavaCPP's collection of garbage: the engines' flags are not for it.
mvn -q -B -ntp -DskipTests -Dspotless.check.skip -pl bench -am package
deeplearning4j() {
  OMP_NUM_THREADS=1 timeout "${SECONDS_A_RUN:-3600}" java -Xmx2g -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "bench/target/phalanx-bench.jar:bench/target/lib/*" \
    "dev.phalanx.bench.deeplearning4j.$1" "${@:2}"
}
