// node bench/steady.ts <url> <requests a second> <seconds>: a load that asks at its own pace, whoever keeps it waiting.
// Prints a line of JSON: when each request was due (milliseconds since 1970), and how long its answer then took.
import { connect, type Socket } from 'node:net'

const [url = '', rate = '1000', seconds = '1'] = process.argv.slice(2)
const { hostname, port, pathname, host } = new URL(url)
const EVERY = 1000 / Number(rate)
const COUNT = Math.round(Number(rate) * Number(seconds))
const CONNECTIONS = 64
const ASK = `GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\n\r\n`

const idle: Socket[] = []
const answered: [due: number, took: number][] = []
const now = (): number => performance.timeOrigin + performance.now()
let began = 0
let asked = 0

/** Asks what is due by now, as far as there are connections; what waits for one is late by that time, too. */
function askDue(): void {
  while (asked < COUNT && began + asked * EVERY <= now()) {
    const socket = idle.pop()
    if (socket === undefined) return
    const due = began + asked++ * EVERY
    socket.once('answered', () => {
      answered.push([due, now() - due])
      idle.push(socket)
      askDue()
    })
    socket.write(ASK)
  }
}

function open(): Socket {
  const socket = connect(Number(port), hostname)
  let text = ''
  socket.setNoDelay().setEncoding('latin1')
  socket.on('connect', () => idle.push(socket))
  socket.on('data', (data) => {
    text += String(data)
    const head = text.indexOf('\r\n\r\n')
    if (head === -1) return
    if (!text.startsWith('HTTP/1.1 200')) throw new Error(text.slice(0, head))
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(text)?.[1])
    if (text.length < head + 4 + length) return
    text = ''
    socket.emit('answered')
  })
  return socket
}

const sockets = Array.from({ length: CONNECTIONS }, open)
const clock = setInterval(() => {
  if (began === 0 && idle.length === CONNECTIONS) began = now()
  if (began > 0) askDue()
  if (answered.length < COUNT) return
  clearInterval(clock)
  for (const socket of sockets) socket.destroy()
  console.log(JSON.stringify(answered))
}, 1)
