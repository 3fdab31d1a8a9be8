import type { Socket } from 'node:net'

/** Receives the events of one socket. */
export interface SocketListener {
  /** Called with `size` bytes, which are valid until this returns; returns false to pause. */
  onRead(bytes: Buffer, size: number): boolean
  onSocketEnd(): void
  onSocketError(error: Error): void
  onSocketClose(): void
}

const LISTENER = Symbol('socket listener')

interface ObservedSocket extends Socket {
  [LISTENER]?: SocketListener | undefined
}

/** The read buffer of all connections, as `onread` of `net.connect`: each read is parsed before the next one, so there is neither a stream nor a buffer per read. */
export const onread = {
  buffer: Buffer.allocUnsafeSlow(65_536),
  callback(this: ObservedSocket, size: number, bytes: Uint8Array): boolean {
    return this[LISTENER]?.onRead(bytes as Buffer, size) ?? true
  }
}

/** Attaches a listener to a socket. */
export function listen(socket: Socket, listener: SocketListener): void {
  ;(socket as ObservedSocket)[LISTENER] = listener
  socket.on('error', onError).on('end', onEnd).on('close', onClose)
}

/** Reads a socket as a stream, without `onread`, because another protocol takes it over later. */
export function readAsStream(socket: Socket): void {
  socket.on('data', onData)
}

/** Detaches the listener of a socket, which another protocol takes over. */
export function unlisten(socket: Socket): void {
  ;(socket as ObservedSocket)[LISTENER] = undefined
  socket.off('data', onData).off('error', onError).off('end', onEnd).off('close', onClose)
}

// Named functions on `this` instead of closures: one function each for all connections.
function onData(this: ObservedSocket, chunk: Buffer): void {
  if (this[LISTENER]?.onRead(chunk, chunk.length) === false) this.pause()
}

function onError(this: ObservedSocket, error: Error): void {
  this[LISTENER]?.onSocketError(error)
}

function onEnd(this: ObservedSocket): void {
  this[LISTENER]?.onSocketEnd()
}

function onClose(this: ObservedSocket): void {
  this[LISTENER]?.onSocketClose()
}
