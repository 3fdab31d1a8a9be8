import type { Logger } from 'pino'

/** Logs errors that nothing has caught, in callbacks of sockets, timers and promises, and lets the process go on: one request, or one extension, must not end all others. */
export function logUncaughtErrors(log: Logger): void {
  process.on('uncaughtException', (error, origin) => log.error({ err: error, origin }, 'uncaught error'))
}
