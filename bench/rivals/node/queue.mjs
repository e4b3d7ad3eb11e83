// BullMQ and nodemailer: `node queue.mjs worker`, or `fill N`, `offer RATE SECONDS`, `hold`, `go`, which answer in JSON.
import { Queue, Worker } from 'bullmq'
import IORedis from 'ioredis'
import nodemailer from 'nodemailer'
import cluster from 'node:cluster'

const { BENCH_SOCKET: path, BENCH_PORT: port, BENCH_CHILDREN: children, BENCH_AT_ONCE: atOnce, BENCH_MAIL: mail } = process.env
// What BullMQ asks for in workers: a command waits for the server, however long it is away.
const connection = () => new IORedis({ path, maxRetriesPerRequest: null })
const AT_ONCE = Number(atOnce)
const finish = { removeOnComplete: true, attempts: 3 }

function work () {
  const wire = nodemailer.createTransport({
    host: '127.0.0.1', port: Number(port), ignoreTLS: true, name: 'bench.test',
    pool: true, maxConnections: AT_ONCE, maxMessages: Infinity
  })
  const send = job => wire.sendMail({ envelope: { from: 'a@x.test', to: ['b@y.test'] }, raw: job.data.raw })
  const worker = new Worker('mail', send, { connection: connection(), concurrency: AT_ONCE })
  worker.on('error', error => console.error(error.message))
  worker.waitUntilReady().then(() => process.send('up'))
}

function lead () {
  let up = 0
  for (let n = 0; n < Number(children); n++) {
    cluster.fork().on('message', () => { if (++up === Number(children)) console.log('queue ready.') })
  }
}

async function offer (queue, rate, seconds) {
  const begun = performance.now()
  let late = 0
  for (let n = 0; n < rate * seconds; n++) {
    const left = begun + n * 1000 / rate - performance.now()
    if (left > 0) await new Promise(resolve => setTimeout(resolve, left))
    late = Math.max(late, -left)
    await queue.add('mail', { raw: `X-Enq: ${(Date.now() / 1000).toFixed(6)}\r\n${mail}` }, finish)
  }
  return { late_ms: late }
}

async function fill (queue, mails) {
  const begun = performance.now()
  for (let left = mails; left > 0; left -= 1000) {
    const some = Array.from({ length: Math.min(1000, left) }, () => ({ name: 'mail', data: { raw: mail }, opts: finish }))
    await queue.addBulk(some)
  }
  return { seconds: (performance.now() - begun) / 1000 }
}

async function produce ([what, ...numbers]) {
  const queue = new Queue('mail', { connection: connection() })
  const ways = { fill, offer, hold: () => queue.pause(), go: () => queue.resume() }
  console.log(JSON.stringify(await ways[what](queue, ...numbers.map(Number)) ?? {}))
  await queue.close()
  process.exit(0)
}

if (cluster.isWorker) work()
else if (process.argv[2] === 'worker') lead()
else produce(process.argv.slice(2))
