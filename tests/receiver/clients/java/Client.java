import com.segment.analytics.Analytics;
import com.segment.analytics.Callback;
import com.segment.analytics.messages.AliasMessage;
import com.segment.analytics.messages.GroupMessage;
import com.segment.analytics.messages.IdentifyMessage;
import com.segment.analytics.messages.Message;
import com.segment.analytics.messages.MessageBuilder;
import com.segment.analytics.messages.PageMessage;
import com.segment.analytics.messages.ScreenMessage;
import com.segment.analytics.messages.TrackMessage;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/** The story of tests/receiver/clients/story.py: Client ENDPOINT WRITE_KEY [CALLS_A_BATCH]. Batches go out in parallel. */
public class Client {
  public static void main(String[] arguments) throws InterruptedException {
    List<MessageBuilder<?, ?>> calls =
        List.of(
            PageMessage.builder("Pricing")
                .anonymousId("visitor-1")
                .properties(Map.of("url", "https://shop.test/pricing")),
            IdentifyMessage.builder()
                .userId("pgibbons")
                .anonymousId("visitor-1")
                .traits(Map.of("email", "pgibbons@example.com", "name", "Peter Gibbons")),
            TrackMessage.builder("Item Purchased")
                .userId("pgibbons")
                .properties(Map.of("revenue", 14.99, "note", "Zoë 💶")),
            ScreenMessage.builder("Home").userId("pgibbons").properties(Map.of("tabs", 3)),
            GroupMessage.builder("initech")
                .userId("pgibbons")
                .traits(Map.of("name", "Initech", "employees", 420)),
            AliasMessage.builder("pgibbons").userId("019mr8mf4r"));
    CountDownLatch open = new CountDownLatch(calls.size());
    Analytics analytics =
        Analytics.builder(arguments[1])
            .endpoint(arguments[0])
            .flushQueueSize(arguments.length > 2 ? Integer.parseInt(arguments[2]) : calls.size())
            .networkExecutor(Executors.newFixedThreadPool(calls.size()))
            .callback(
                new Callback() {
                  @Override
                  public void success(Message message) {
                    open.countDown();
                  }

                  @Override
                  public void failure(Message message, Throwable problem) {
                    problem.printStackTrace();
                    System.exit(1);
                  }
                })
            .build();
    calls.forEach(analytics::enqueue);
    analytics.flush();
    System.exit(open.await(100, TimeUnit.SECONDS) ? 0 : 1);
  }
}
