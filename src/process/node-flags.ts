// bin/sallyport.js gives the reasons. Its first line, the Dockerfile and the systemd unit repeat these flags; a test compares.
const YOUNG_GENERATION_FLAGS = ['--max-semi-space-size=4', '--no-allocation-site-pretenuring']

/** The Node.js flags of a gateway that runs in one process. */
export const NODE_FLAGS: readonly string[] = [...YOUNG_GENERATION_FLAGS, '--v8-pool-size=0']

// A worker has one core at most.
const WORKER_FLAGS: readonly string[] = [...YOUNG_GENERATION_FLAGS, '--v8-pool-size=1']

/** Returns the Node.js flags of a worker: those that the primary was started with, and the defaults of a worker. */
export function workerFlags(primaryFlags: readonly string[]): string[] {
  const inherited = primaryFlags.filter((flag) => !NODE_FLAGS.includes(flag))
  const names = new Set(inherited.map(flagName))
  return [...inherited, ...WORKER_FLAGS.filter((flag) => !names.has(flagName(flag)))]
}

const flagName = (flag: string): string => flag.split('=', 1)[0] as string
