// What is said to Node.js on the command line of a gateway; bin/sallyport.js says why. Its first line, the Dockerfile and the
// systemd unit have them by hand, and a test compares.
const YOUNG = ['--max-semi-space-size=4', '--no-allocation-site-pretenuring']

/** The flags of Node.js for a process that has the machine, or its share of one, to itself. */
export const NODE_FLAGS: readonly string[] = [...YOUNG, '--v8-pool-size=0']

// A worker has one core, if that.
const WORKER_FLAGS: readonly string[] = [...YOUNG, '--v8-pool-size=1']

/** Completes the flags of a process to those of its workers; what it was told itself holds for them, too. */
export function workerFlags(own: readonly string[]): string[] {
  const theirs = own.filter((flag) => !NODE_FLAGS.includes(flag))
  const names = new Set(theirs.map(nameOf))
  return [...theirs, ...WORKER_FLAGS.filter((flag) => !names.has(nameOf(flag)))]
}

const nameOf = (flag: string): string => flag.split('=', 1)[0] as string
