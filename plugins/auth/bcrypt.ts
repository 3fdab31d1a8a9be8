import { Worker } from 'node:worker_threads'
import { authUnavailable } from './unavailable.ts'

// A hash of this form: version, cost, salt of 22 and hash of 31 characters.
const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/
// Cost 14 takes seconds.
const MAX_COST = 14
// One comparison at a time; more than these are refused.
const MAX_WAITING = 100

/** Returns whether a text is a bcrypt hash that is not too costly. */
export function isBcrypt(text: string): boolean {
  const cost = Number(BCRYPT.exec(text)?.[1])
  return cost >= 4 && cost <= MAX_COST
}

const PROGRAM = `
const { parentPort, workerData } = require('node:worker_threads')
import(workerData.library).then(({ default: { compareSync } }) => {
  parentPort.postMessage(compareSync(workerData.password, workerData.hash))
})
`

const queue = { waiting: 0, last: Promise.resolve<unknown>(undefined) }

/** Resolves to whether a password matches a bcrypt hash; compared in a thread of its own, since Node.js has no bcrypt and requests should not wait. */
export async function verifyBcrypt(password: string, hash: string): Promise<boolean> {
  if (queue.waiting >= MAX_WAITING) throw authUnavailable(1)
  queue.waiting++
  const compared = queue.last.then(() => compareInThread(password, hash))
  queue.last = compared.catch(() => undefined)
  try {
    return await compared
  } finally {
    queue.waiting--
  }
}

function compareInThread(password: string, hash: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(PROGRAM, {
      eval: true,
      execArgv: [],
      workerData: { password, hash, library: import.meta.resolve('bcryptjs') }
    })
    worker.once('message', (matches: unknown) => resolve(matches === true))
    worker.once('error', reject)
    worker.once('exit', () => reject(new Error('bcrypt thread ended')))
  })
}
