import type { Server, Socket } from 'node:net'
import type { Logger } from 'pino'
import { descriptorLimit, isNearLimit } from '../lib/descriptors.ts'
import { Repeated } from '../lib/repeated.ts'

/** Starts to listen on an address, or on a socket that is open already; rejects where the port is taken. */
export function listen(
  server: Server,
  where: { readonly host: string; readonly port: number } | { readonly fd: number }
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(where, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** Logs connections that are refused because of `maxConnections`: the first one, then a count every 10 s. */
export function warnOfDrops(server: Server, log: Logger, maxConnections: () => number): void {
  const drops = new Repeated<number>((dropped, max) =>
    log.warn({ dropped, maxConnections: max }, 'connections refused: too many are open')
  )
  server.on('drop', () => drops.note(maxConnections()))
}

/** Logs when connections use the last file descriptors: beyond those, connections are closed without an event. */
export function warnOfDescriptors(server: Server, log: Logger): void {
  const limit = descriptorLimit()
  if (limit === undefined) return
  const warnings = new Repeated<number>((connections) =>
    log.warn(
      { connections, descriptors: limit },
      'file descriptors used up: further connections are refused; raise the limit (ulimit -n) or lower overload.maxConnections'
    )
  )
  server.on('connection', (socket: Socket) => {
    const descriptor = socket._handle?.fd
    if (descriptor !== undefined && isNearLimit(descriptor, limit)) warnings.note(descriptor)
  })
}
