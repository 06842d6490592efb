//! What uploads and downloads cost beside a bare TLS 1.3 copy of the same bytes over loopback: MB/s, CPU seconds per GB
//! of both ends and of the server, and the server's memory. The server is a process of its own. It measures the wire
//! alone: nothing is stored, digested or signed.
//!
//! `cargo bench -p shared-wire --bench stream -- [connections] [megabytes each]`

use std::error::Error;
use std::io::BufRead;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::document::{KeyId, SignedDocument};
use shared::{Digest, ParticipantId, ReleaseId, RoundId, TaskId, Timestamp};
use shared_crypto::pki::{CertificateAuthority, CertificateRequest};
use shared_wire::client::Client;
use shared_wire::server::{self, Answers, Certificate, Federation, Gate, Heartbeats, Limits, ServerIdentity, Upload};
use shared_wire::{
    Bytes, CHUNK_BYTES, EnrolAnswer, JoinRequest, MaskingStage, PemIdentity, ProofRequest, ReleaseBundle, RoundView,
    SealedShare, Status, TaskView, UpdateOpen, async_trait,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

type Failure = Box<dyn Error + Send + Sync>;

/// Ticks of `/proc/self/stat` in a second.
const TICKS: f64 = 100.0;
const DAY: Duration = Duration::from_secs(86_400);
const REPEATS: usize = 5;
/// Updates that the server takes at a time.
const PLACES: usize = 16;
/// Says to this program that it is the server, and how many bytes the parameters have.
const SERVER: &str = "BENCH_SERVER_BYTES";
/// What the bare copy reads from its socket at once; without it the copy would cost more than the wire.
const READ_BYTES: usize = 32 * 1024;

struct Credentials {
    ca: String,
    server: (String, String),
    client: (String, String),
}

impl Credentials {
    fn new() -> Result<Self, Failure> {
        let (now, participant) = (Timestamp::from_micros(1_750_000_000_000_000), ParticipantId::new("site")?);
        let authority = CertificateAuthority::create("bench", now, DAY * 36_500)?;
        let server = authority.issue_server(&["127.0.0.1".to_owned()], now, DAY * 36_500)?;
        let request = CertificateRequest::new(&participant)?;
        let certificate = authority.sign_request(&request.csr_pem, &participant, now, DAY * 36_500)?;
        Ok(Self {
            ca: authority.certificate_pem().to_owned(),
            server: (server.certificate_pem, server.key_pem.expose().to_owned()),
            client: (certificate, request.key_pem.expose().to_owned()),
        })
    }
}

fn pem((certificate, key): &(String, String)) -> PemIdentity<'_> {
    PemIdentity { certificate, key }
}

/// Takes every update and forgets it; gives the same parameters to all. As a coordinator does, it serves a few at a time.
struct Sink {
    params: Bytes,
    places: Arc<Semaphore>,
}

impl Sink {
    async fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.places).acquire_owned().await.map_err(|error| Status::aborted(error.to_string()))
    }
}

fn receipt() -> SignedDocument {
    SignedDocument { body: "{}".to_owned(), key_id: KeyId(Digest([0; 32])), signature: "00".repeat(64) }
}

#[async_trait]
impl Federation for Sink {
    async fn enrol(&self, _: SignedDocument) -> Result<EnrolAnswer, Status> {
        Ok(EnrolAnswer::Pending)
    }

    async fn renew(&self, _: Certificate, _: SignedDocument) -> Result<EnrolAnswer, Status> {
        Ok(EnrolAnswer::Pending)
    }

    async fn tasks(&self, _: Certificate) -> Result<Vec<TaskView>, Status> {
        Ok(Vec::new())
    }

    async fn watch(&self, _: Certificate, _: TaskId, _: Heartbeats) -> Result<Answers<RoundView>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn join(&self, _: Certificate, _: JoinRequest) -> Result<(), Status> {
        Ok(())
    }

    async fn masking_documents(
        &self,
        _: Certificate,
        _: RoundId,
        _: MaskingStage,
    ) -> Result<Vec<SignedDocument>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn agreement(&self, _: Certificate, _: SignedDocument) -> Result<(), Status> {
        Ok(())
    }

    async fn sealed_shares(&self, _: Certificate, _: RoundId) -> Result<Vec<SealedShare>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn opened_update(&self, _: Certificate, _: SignedDocument) -> Result<(), Status> {
        Ok(())
    }

    async fn proof(&self, _: Certificate, _: ProofRequest) -> Result<(), Status> {
        Ok(())
    }

    async fn reveal(&self, _: Certificate, _: SignedDocument) -> Result<(), Status> {
        Ok(())
    }

    async fn ledger(&self, _: Certificate, _: SignedDocument) -> Result<(), Status> {
        Ok(())
    }

    async fn cosignature(&self, _: Certificate, _: SignedDocument) -> Result<(), Status> {
        Ok(())
    }

    async fn params(&self, _: Certificate, _: Digest, offset: u64) -> Result<Answers<Bytes>, Status> {
        Ok(server::parts(self.params.clone(), offset))
    }

    async fn update(&self, _: Certificate, _: UpdateOpen, mut upload: Upload) -> Result<SignedDocument, Status> {
        let _place = self.place().await?;
        upload.durable(0);
        while let Some(piece) = upload.next().await? {
            std::hint::black_box(piece);
        }
        Ok(receipt())
    }

    async fn evaluation(&self, _: Certificate, _: SignedDocument) -> Result<(), Status> {
        Ok(())
    }

    async fn round_record(&self, _: Certificate, _: RoundId) -> Result<SignedDocument, Status> {
        Ok(receipt())
    }

    async fn release(&self, _: Certificate, _: ReleaseId) -> Result<ReleaseBundle, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn latest_release(&self, _: Certificate, _: Option<Digest>) -> Result<Option<ReleaseBundle>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}

/// Admits everybody, each as somebody else.
struct Open(watch::Sender<u64>);

impl Gate for Open {
    fn admits(&self, _: &[u8]) -> Option<ParticipantId> {
        ParticipantId::new("site").ok()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

async fn serve_wire(credentials: &Credentials, listener: TcpListener, params: Bytes) -> Result<(), Failure> {
    let identity = ServerIdentity::new(pem(&credentials.server))?;
    let limits = Limits {
        connections: 4096,
        connections_per_participant: 4096,
        guests: 16,
        handshakes: 64,
        streams_per_connection: 16,
    };
    let (federation, gate) =
        (Arc::new(Sink { params, places: Arc::new(Semaphore::new(PLACES)) }), Arc::new(Open(watch::Sender::new(0))));
    server::serve(listener, federation, gate, identity, &credentials.ca, limits, std::future::pending()).await?;
    Ok(())
}

/// A server that reads whatever comes, until the client has no more.
async fn serve_bare(credentials: &Credentials, listener: TcpListener) -> Result<(), Failure> {
    let chain = CertificateDer::pem_slice_iter(credentials.server.0.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(credentials.server.1.as_bytes())?;
    let config = ServerConfig::builder_with_protocol_versions(&[&TLS13]).with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key)?));
    loop {
        let (socket, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let mut stream = acceptor.accept(BufReader::with_capacity(READ_BYTES, socket)).await?;
            let mut buffer = vec![0; 16 * 1024];
            while stream.read(&mut buffer).await? > 0 {}
            stream.write_all(b"k").await?;
            stream.flush().await
        });
    }
}

async fn dial(address: SocketAddr, connector: &TlsConnector) -> Result<TlsStream<TcpStream>, Failure> {
    let socket = TcpStream::connect(address).await?;
    Ok(connector.connect(ServerName::try_from("127.0.0.1")?, socket).await?)
}

async fn bare(mut stream: TlsStream<TcpStream>, payload: Bytes) -> Result<(), Failure> {
    for chunk in payload.chunks(CHUNK_BYTES) {
        stream.write_all(chunk).await?;
    }
    stream.shutdown().await?;
    stream.read_exact(&mut [0]).await?;
    Ok(())
}

async fn upload(client: Client, payload: Bytes) -> Result<(), Failure> {
    let chunk_digests = payload.chunks(CHUNK_BYTES).map(|_| Digest([0; 32])).collect();
    client
        .submit_update(UpdateOpen { header: receipt(), chunk_digests, dealing: Bytes::new() }, payload, |_, _| {})
        .await?;
    Ok(())
}

/// Fetches into memory that is there already, as the bare copy reads into its buffer.
async fn download(client: Client, params: Arc<Mutex<Vec<u8>>>, len: usize) -> Result<(), Failure> {
    let mut params = params.lock().await;
    params.clear();
    client.fetch(Digest([0; 32]), len, &mut params).await?;
    Ok(())
}

/// A process as the system accounts for it; `None` is this one.
#[derive(Clone, Copy)]
struct Process(Option<u32>);

impl Process {
    fn read(self, file: &str) -> Result<String, Failure> {
        let name = self.0.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
        Ok(std::fs::read_to_string(format!("/proc/{name}/{file}"))?)
    }

    /// CPU seconds so far, in the program and in the kernel.
    fn cpu_seconds(self) -> Result<f64, Failure> {
        let stat = self.read("stat")?;
        let fields = stat.rsplit(')').next().ok_or("no fields")?.split_whitespace();
        Ok(fields.skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()? / TICKS)
    }

    /// `VmRSS` (now) or `VmHWM` (at most so far), in MiB.
    fn memory(self, name: &str) -> Result<f64, Failure> {
        let status = self.read("status")?;
        let line = status.lines().find(|line| line.starts_with(name)).ok_or("no such line")?;
        Ok(line.split_whitespace().nth(1).ok_or("no value")?.parse::<f64>()? / 1024.0)
    }
}

/// What the same bytes cost: CPU seconds per GB of both ends together.
struct Bench {
    server: Process,
    gigabytes: f64,
}

impl Bench {
    /// Runs all `jobs` at once and prints what they cost.
    async fn run<F>(&self, name: &str, jobs: impl Iterator<Item = F>) -> Result<f64, Failure>
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let (own, theirs) = (Process(None).cpu_seconds()?, self.server.cpu_seconds()?);
        #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
        let started = Instant::now();
        let running: Vec<_> = jobs.map(tokio::spawn).collect();
        for job in running {
            job.await??;
        }
        let elapsed = started.elapsed().as_secs_f64();
        let own = (Process(None).cpu_seconds()? - own) / self.gigabytes;
        let theirs = (self.server.cpu_seconds()? - theirs) / self.gigabytes;
        let speed = self.gigabytes * 1000.0 / elapsed;
        println!("{name:9} {speed:6.0} MB/s  {:5.2} CPU s/GB, of which the server {theirs:5.2}", own + theirs);
        Ok(own + theirs)
    }
}

/// The server's process: serves both ways until its standard input ends.
#[tokio::main]
async fn serve(credentials: Credentials, bytes: usize) -> Result<(), Failure> {
    let (wire, bare) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
    println!("{} {}", wire.local_addr()?, bare.local_addr()?);
    let over = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    tokio::select! {
        served = serve_wire(&credentials, wire, Bytes::from(vec![7; bytes])) => served,
        served = serve_bare(&credentials, bare) => served,
        over = over => Ok(over?.map(drop)?),
    }
}

/// Starts the server's process and learns its addresses.
fn spawn(credentials: &Credentials, bytes: usize) -> Result<(Child, SocketAddr, SocketAddr), Failure> {
    let mut child = Command::new(std::env::current_exe()?)
        .env(SERVER, bytes.to_string())
        .env("BENCH_CA", &credentials.ca)
        .env("BENCH_CERTIFICATE", &credentials.server.0)
        .env("BENCH_KEY", &credentials.server.1)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().ok_or("no output")?), &mut line)?;
    let (wire, bare) = line.trim().split_once(' ').ok_or("no addresses")?;
    Ok((child, wire.parse()?, bare.parse()?))
}

#[tokio::main]
async fn measure(connections: usize, megabytes: usize) -> Result<(), Failure> {
    let credentials = Credentials::new()?;
    let payload = Bytes::from(vec![7; megabytes * 1_000_000]);
    let (mut child, wire, bare_address) = spawn(&credentials, payload.len())?;
    let bench = Bench {
        server: Process(Some(child.id())),
        gigabytes: f64::from(u32::try_from(connections * megabytes)?) / 1000.0,
    };
    let memory: Vec<_> = (0..connections).map(|_| Arc::new(Mutex::new(vec![1; payload.len()]))).collect();
    let (server, client) = (bench.server.memory("VmRSS")?, Process(None).memory("VmRSS")?);
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients
            .push(Client::connect(&format!("https://{wire}"), &credentials.ca, Some(pem(&credentials.client))).await?);
    }
    let each = |mebibytes: f64| mebibytes * 1024.0 / f64::from(u32::try_from(connections).unwrap_or(1));
    let idle = (each(bench.server.memory("VmRSS")? - server), each(Process(None).memory("VmRSS")? - client));
    println!(
        "{connections} connections, {megabytes} MB each; idle: server {:.0} KiB, client {:.0} KiB each",
        idle.0, idle.1
    );
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(credentials.ca.as_bytes())?)?;
    let config = ClientConfig::builder_with_protocol_versions(&[&TLS13]).with_root_certificates(roots);
    let connector = TlsConnector::from(Arc::new(config.with_no_client_auth()));
    let mut ratios = Vec::new();
    for _ in 0..REPEATS {
        let mut streams = Vec::new();
        for _ in 0..connections {
            streams.push(dial(bare_address, &connector).await?);
        }
        let base = bench.run("bare TLS", streams.into_iter().map(|stream| bare(stream, payload.clone()))).await?;
        let up = bench.run("upload", clients.iter().map(|client| upload(client.clone(), payload.clone()))).await?;
        let into = clients.iter().zip(&memory);
        let jobs = into.map(|(client, memory)| download(client.clone(), Arc::clone(memory), payload.len()));
        ratios.push((up / base, bench.run("download", jobs).await? / base));
    }
    let (most, now) = (bench.server.memory("VmHWM")?, bench.server.memory("VmRSS")?);
    println!("server's memory beside its parameters: {:.0} MiB at most, {:.0} MiB after", most - server, now - server);
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let (up, down) = ratios.into_iter().unzip();
    println!("CPU beside bare TLS, median of {REPEATS} runs: upload {:.2}, download {:.2}", median(up), median(down));
    drop(child.stdin.take());
    child.wait()?;
    Ok(())
}

fn main() -> Result<(), Failure> {
    if let Ok(bytes) = std::env::var(SERVER) {
        let server = (std::env::var("BENCH_CERTIFICATE")?, std::env::var("BENCH_KEY")?);
        let client = (String::new(), String::new());
        return serve(Credentials { ca: std::env::var("BENCH_CA")?, server, client }, bytes.parse()?);
    }
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    match numbers.as_slice() {
        [connections, megabytes, ..] => measure(*connections, *megabytes),
        _ => measure(100, 4),
    }
}
