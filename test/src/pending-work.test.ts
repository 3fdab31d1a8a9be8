import { argon2, generateKeyPair, randomBytes, randomFill, scryptSync, subtle } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { promisify } from 'node:util'
import { brotliCompress, createGzip, gzipSync, zstdCompress } from 'node:zlib'
import t from 'tap'
import { PendingWork } from '../../src/simulation/pending-work.ts'

t.test('work in threads is pending until it is done', async (t) => {
  const pair = await subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
  const cases: [name: string, work: () => Promise<unknown>][] = [
    [
      'a signature',
      () => subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, pair.privateKey, new Uint8Array(9))
    ],
    [
      'a password',
      () =>
        promisify(argon2)('argon2id', {
          message: 'x',
          nonce: Buffer.alloc(16),
          parallelism: 1,
          tagLength: 32,
          memory: 64,
          passes: 1
        })
    ],
    ['a key', () => promisify(generateKeyPair)('ed25519', {})],
    ['random bytes', () => promisify<Buffer, Buffer>(randomFill)(Buffer.alloc(9))],
    ['a file', () => stat('package.json')],
    ['Brotli', () => promisify(brotliCompress)('text')],
    ['Zstandard', () => promisify(zstdCompress)('text')],
    ['a stream that is compressed', () => new Promise((resolve) => createGzip().write('text', resolve))]
  ]
  for (const [name, begin] of cases) {
    const work = new PendingWork()
    t.teardown(() => work.close())
    const done = begin()
    // Some begin a few microtasks later.
    let wasWorking = work.isWorking
    for (let i = 0; i < 20; i++) {
      await Promise.resolve()
      wasWorking ||= work.isWorking
    }
    t.equal(wasWorking, true, name)
    await done
    await new Promise((resolve) => setImmediate(resolve))
    t.equal(work.isWorking, false, `${name}, done`)
    work.close()
  }
})

t.test('what is done at once is never pending', async (t) => {
  const work = new PendingWork()
  t.teardown(() => work.close())
  randomBytes(9)
  scryptSync('x', 'salt', 9)
  gzipSync('text')
  t.equal(work.isWorking, false)
})
